import pytest
from pydantic import ValidationError

from comms_pipeline.domain.cap import Cap
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.organisation import ORGANISATION_KEYS, Organisation
from comms_pipeline.domain.tiers import TIER_LIMITS, Tier, TierLimits
from comms_pipeline.domain.validation import faults

VALID = {
    "id": "lakeside",
    "name": "Lakeside",
    "postal_address": "2 Mill Street",
    "topics": {"newsletter": "Monthly news", "events": "Invitations"},
    "caps": [
        {"channel": "email", "messages": 5, "days": 7},
        {"channel": "sms", "messages": 1, "days": 1, "topic": "events"},
    ],
    "tier": "starter",
}


def problems(**changes: object) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        Organisation.model_validate(VALID | changes)
    return [(fault.problem, fault.fix) for fault in faults(caught.value, ORGANISATION_KEYS)]


def test_without_more_there_are_no_topics_no_caps_and_no_limits():
    organisation = Organisation.model_validate({"id": "lakeside", "name": "Lakeside"})

    assert organisation.rules() == {"topics": {}, "caps": [], "tier": "unlimited"}
    assert TIER_LIMITS[organisation.tier] == TierLimits(recipients=None, per_hour=None, per_day=None)


def test_a_cap_of_days_is_one_of_hours_and_of_every_topic_unless_it_names_one():
    organisation = Organisation.model_validate(VALID)

    assert [cap.cap for cap in organisation.caps] == [
        Cap(channel=Channel.EMAIL, topic="*", messages=5, hours=168),
        Cap(channel=Channel.SMS, topic="events", messages=1, hours=24),
    ]


def test_what_is_neither_name_nor_address_is_plain_json():
    assert Organisation.model_validate(VALID).rules() == {
        "topics": {"newsletter": "Monthly news", "events": "Invitations"},
        "caps": [
            {"channel": "email", "messages": 5, "days": 7, "topic": "*"},
            {"channel": "sms", "messages": 1, "days": 1, "topic": "events"},
        ],
        "tier": "starter",
    }


@pytest.mark.parametrize(
    ("changes", "problem", "fix"),
    [
        ({"topic": {}}, "unknown key 'topic'", "Did you mean 'topics'?"),
        ({"tier": "profesional"}, "'profesional' is not a value of 'tier'", "Did you mean 'professional'?"),
        (
            {"topics": {"Monthly news": "News"}, "caps": []},
            "'Monthly news' is not an id",
            "Use up to 63 of a-z, 0-9 and '-', not starting with '-'",
        ),
        (
            {"topics": {"news": " "}, "caps": []},
            "the text is empty",
            "Fill it in, or remove the key",
        ),
        (
            {"topics": {f"topic-{number}": "One" for number in range(51)}, "caps": []},
            "there are 51 topics",
            "Keep to 50; people must choose between them",
        ),
        (
            {"caps": [{"channel": "email", "messages": 1, "days": 1, "topic": "newslettr"}]},
            "a cap names the unknown topic 'newslettr'",
            "Did you mean 'newsletter'?",
        ),
        (
            {"caps": [{"channel": "email", "messages": 1, "days": 1}] * 2},
            "there are two caps for email, topic '*', 1 days",
            "Keep one",
        ),
        (
            {"caps": [{"channel": "email", "messages": 0, "days": 1}]},
            "'messages' should be greater than or equal to 1",
            "Correct the value",
        ),
        (
            {"caps": [{"channel": "email", "messages": 1, "days": 32}]},
            "'days' should be less than or equal to 31",
            "Correct the value",
        ),
        (
            {"caps": [{"channel": "email", "messages": 1, "day": 1}]},
            "unknown key 'day'",
            "Did you mean 'days'?",
        ),
    ],
)
def test_faults_say_what_to_do(changes, problem, fix):
    assert problems(**changes)[0] == (problem, fix)


@pytest.mark.parametrize("topic", ["general", "*", "newsletter"])
def test_a_cap_may_be_for_campaigns_without_a_topic(topic):
    caps = [{"channel": "email", "messages": 1, "days": 1, "topic": topic}]

    assert Organisation.model_validate(VALID | {"caps": caps}).caps[0].topic == topic


def test_tiers_are_those_of_the_price_list():
    named = {
        tier: (limits.recipients, limits.per_hour, limits.per_day) for tier, limits in TIER_LIMITS.items()
    }

    assert named == {
        Tier.FREE: (100, 50, 200),
        Tier.STARTER: (500, 200, 1_000),
        Tier.PROFESSIONAL: (2_000, 500, 5_000),
        Tier.ENTERPRISE: (10_000, 2_000, 20_000),
        Tier.UNLIMITED: (None, None, None),
    }
