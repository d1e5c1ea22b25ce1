import copy

import pytest
from pydantic import ValidationError

from comms_pipeline.domain.campaign import CAMPAIGN_KEYS, CampaignSpec, digest
from comms_pipeline.domain.message import Channel, MessageClass
from comms_pipeline.domain.template_sources import NamedTemplate, message_sources, template_references
from comms_pipeline.domain.validation import faults

VALID = {
    "id": "spring-news",
    "organisation": "lakeside",
    "audience": {"everyone": True},
    "channels": ["email", "sms"],
    "sender": {"from_email": "hello@lakeside.example", "from_name": "Lakeside"},
    "postal_address": "1 Harbor Lane, Portland",
    "templates": {
        "email": {"subject": "Hello {{ name }}", "html": "news.html", "text": "news.txt"},
        "sms": {"text": "news.sms.txt"},
    },
    "variants": [
        {"name": "a"},
        {"name": "b", "weight": 3, "templates": {"email": {"subject": "file:b.subject.txt"}}},
    ],
    "fallbacks": {"name": "there"},
}
TEMPLATES = {"news.html": "<p>", "news.txt": "text", "news.sms.txt": "sms", "b.subject.txt": "Hi\n"}


def changed(**changes: object) -> dict[str, object]:
    return {key: value for key, value in (copy.deepcopy(VALID) | changes).items() if value is not None}


def problems(values: dict[str, object]) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        CampaignSpec.model_validate(values)
    return [(fault.problem, fault.fix) for fault in faults(caught.value, CAMPAIGN_KEYS)]


def test_defaults_are_marketing_full_batches_and_by_hand():
    spec = CampaignSpec.model_validate(VALID)

    assert spec.message_class is MessageClass.MARKETING
    assert spec.batch_size == 1000
    assert spec.schedule is None
    assert spec.channels == (Channel.EMAIL, Channel.SMS)
    assert (spec.topic, spec.adult, spec.hours, spec.emergency_reason) == ("general", False, None, "")


@pytest.mark.parametrize(
    ("message_class", "reason"), [("transactional", ""), ("emergency", "The venue has no power")]
)
def test_only_marketing_can_be_withheld(message_class, reason):
    changes = {"class": message_class, "emergency_reason": reason}
    assert problems(changed(**changes, holdout=0.1)) == [
        (
            f"a holdout would keep {message_class} messages from some contacts",
            "Remove 'holdout:'; only marketing may be withheld",
        )
    ]
    assert CampaignSpec.model_validate(changed(**changes, holdout=0)).holdout == 0
    assert CampaignSpec.model_validate(changed(holdout=0.1)).holdout == 0.1


def test_hours_are_minutes_of_the_day_days_of_the_week_and_a_date_of_the_contact():
    hours = {
        "open": "9:00 - 20:30",
        "days_off": ["saturday", "sunday"],
        "date_off": "attributes.wedding.date",
    }
    spec = CampaignSpec.model_validate(changed(hours=hours))

    assert spec.hours is not None
    assert spec.hours.open == (540, 1230)
    assert [day.number for day in spec.hours.days_off] == [5, 6]
    assert spec.hours.date_off == "wedding.date"
    assert spec.as_json()["hours"]["open"] == "09:00-20:30"


@pytest.mark.parametrize("hours", ["00:00-24:00", "08:00-21:00"])
def test_hours_may_be_the_whole_day(hours):
    spec = CampaignSpec.model_validate(changed(hours={"open": hours}))

    assert spec.as_json()["hours"]["open"] == hours


def test_an_emergency_says_why():
    values = changed(**{"class": "emergency", "emergency_reason": " The venue has no power "})

    assert CampaignSpec.model_validate(values).emergency_reason == "The venue has no power"


@pytest.mark.parametrize("length", [200, 201])
def test_a_reason_has_at_most_200_characters(length):
    values = changed(**{"class": "emergency", "emergency_reason": "x" * length})

    if length <= 200:
        assert CampaignSpec.model_validate(values).emergency_reason == "x" * length
    else:
        assert problems(values)[0][0] == "'emergency_reason' string should have at most 200 characters"


def test_json_gives_the_same_campaign_back():
    values = changed(
        topic="newsletter",
        adult=True,
        hours={"open": "09:00-20:00", "days_off": ["saturday"], "date_off": "wedding_date"},
        schedule={"cron": "0 9 * * 1", "time_zone": "Europe/London"},
        audience={"all": [{"not": {"field": "a", "op": "between", "value": [1, 2.5]}}]},
        fallbacks={"name": "there", "count": 1, "is_vip": False},
    )
    spec = CampaignSpec.model_validate(values)

    assert CampaignSpec.model_validate(spec.as_json()) == spec
    assert spec.as_json()["class"] == "marketing"


@pytest.mark.parametrize(
    ("changes", "problem", "fix"),
    [
        (
            {"id": "Spring News"},
            "'Spring News' is not an id",
            "Use up to 63 of a-z, 0-9 and '-', not starting with '-'",
        ),
        ({"id": None}, "'id' is missing", "Add 'id:'"),
        ({"clas": "marketing"}, "unknown key 'clas'", "Did you mean 'class'?"),
        (
            {"class": "transactionl"},
            "'transactionl' is not a value of 'class'",
            "Did you mean 'transactional'?",
        ),
        (
            {"class": "emergency"},
            "an emergency needs a reason",
            "Add 'emergency_reason:'; it goes into the audit trail",
        ),
        (
            {"class": "emergency", "emergency_reason": "  "},
            "an emergency needs a reason",
            "Add 'emergency_reason:'; it goes into the audit trail",
        ),
        (
            {"emergency_reason": "The venue has no power"},
            "a marketing campaign gives a reason for an emergency",
            "Remove 'emergency_reason:', or write class: emergency",
        ),
        ({"adult": "yes"}, "'adult' should be a valid boolean", "Correct the value"),
        (
            {"topic": "All news"},
            "'All news' is not an id",
            "Use up to 63 of a-z, 0-9 and '-', not starting with '-'",
        ),
        ({"hours": {"opens": "09:00-20:00"}}, "unknown key 'opens'", "Did you mean 'open'?"),
        (
            {"hours": {"open": "20:00-09:00"}},
            "'20:00-09:00' are not hours of a day",
            'Write e.g. "09:00-20:00"',
        ),
        (
            {"hours": {"open": "09:00-24:01"}},
            "'09:00-24:01' are not hours of a day",
            'Write e.g. "09:00-20:00"',
        ),
        ({"hours": {"open": 540}}, "'540' are not hours of a day", 'Write e.g. "09:00-20:00"'),
        (
            {"hours": {"days_off": ["saterday"]}},
            "'saterday' is not a value of 'days_off'",
            "Did you mean 'saturday'?",
        ),
        (
            {
                "hours": {
                    "days_off": [
                        "monday",
                        "tuesday",
                        "wednesday",
                        "thursday",
                        "friday",
                        "saturday",
                        "sunday",
                    ]
                }
            },
            "every day of the week is off",
            "Leave a day out of 'days_off:'",
        ),
        (
            {"hours": {}},
            "'hours' says nothing",
            "Add 'open:', 'days_off:' or 'date_off:', or remove 'hours:'",
        ),
        (
            {"hours": {"date_off": "a..b"}},
            "'a..b' is not a field name",
            "Use letters, digits, '_', '-' and blanks; a dot goes deeper",
        ),
        ({"channels": []}, "no channel is listed", "Write channels: [email, sms]"),
        ({"channels": ["sms", "sms"]}, "a channel is listed twice", "List each channel once"),
        ({"channels": ["emial"]}, "'emial' is not a value of 'channels'", "Did you mean 'email'?"),
        (
            {"channels": ["whatsapp"]},
            "channel 'whatsapp' has no templates",
            "Add 'whatsapp:' under templates, or drop the channel",
        ),
        (
            {"sender": {"from_email": "not-an-address", "from_name": "X"}},
            "the e-mail address is not valid",
            "Write e.g. hello@lakeside.example",
        ),
        (
            {"sender": {"from_email": "a@lakeside.example", "from_name": "X\r\nBcc: y"}},
            "it contains a line break",
            "Write it on one line",
        ),
        (
            {"sender": {"from_email": "a@lakeside.example", "from_name": "X", "sms_from": "+0 12"}},
            "the SMS sender is not valid",
            "Use '+' and digits, a short code, a Messaging Service SID or a name",
        ),
        (
            {"sender": {"from_email": "a@lakeside.example", "from_name": "X", "replyto": "b@c.example"}},
            "unknown key 'replyto'",
            "Did you mean 'reply_to'?",
        ),
        (
            {"postal_address": " "},
            "marketing e-mail needs a postal address",
            "Add 'postal_address:' here or in organisation.yaml",
        ),
        (
            {"templates": {"email": {"subject": "x", "html": "x.html"}}, "variants": None},
            "channel 'sms' has no templates",
            "Add 'sms:' under templates, or drop the channel",
        ),
        (
            {"templates": {"email": {"subject": "a\nb", "html": "x.html"}, "sms": {"text": "x"}}},
            "it contains a line break",
            "Write it on one line",
        ),
        (
            {"templates": {"email": {"subject": "a", "html": "x", "txt": "x"}, "sms": {"text": "x"}}},
            "unknown key 'txt'",
            "Did you mean 'text'?",
        ),
        (
            {"variants": [{"name": "a", "weight": 0}]},
            "'weight' should be greater than or equal to 1",
            "Correct the value",
        ),
        (
            {"variants": [{"name": "a"}, {"name": "a"}]},
            "two variants have the same name",
            "Give each variant its own name",
        ),
        (
            {
                "channels": ["email"],
                "templates": {"email": {"subject": "x", "html": "x.html"}},
                "variants": [{"name": "a", "templates": {"sms": {"text": "x"}}}],
            },
            "variant 'a' overrides missing sms templates",
            "Add them to 'templates'",
        ),
        ({"batch_size": 1001}, "'batch_size' should be less than or equal to 1000", "Correct the value"),
        (
            {"schedule": {"at": "2026-12-01T09:00:00"}},
            "the time has no offset",
            "Add the offset from UTC, e.g. -05:00 or Z",
        ),
        ({"schedule": {"cron": "0 9 * * 1"}}, "'time_zone' is missing", "Add 'time_zone:'"),
        (
            {"schedule": {"cron": "0 9 * * 1", "timezone": "UTC"}},
            "unknown key 'timezone'",
            "Did you mean 'time_zone'?",
        ),
    ],
)
def test_faults_say_what_to_do(changes, problem, fix):
    assert problems(changed(**changes))[0] == (problem, fix)


CONTENT_SID = "HX" + "0a" * 16
BOTH = {"text": "a.txt", "content_sid": CONTENT_SID}


def on_whatsapp(base, **more):
    return changed(channels=["whatsapp"], templates={"whatsapp": base}, variants=None, **more)


@pytest.mark.parametrize(
    ("templates", "problem", "fix"),
    [
        ({}, "WhatsApp has nothing to say", "Add 'text:' with a file, or 'content_sid:'"),
        (
            BOTH,
            "WhatsApp has both a text and a Content template",
            "Keep 'content_sid:' to reach everybody, 'text:' to answer who wrote within a day",
        ),
        (
            {"text": "a.txt", "content_variables": {"1": "x"}},
            "content variables need a Content template",
            "Add 'content_sid:'",
        ),
        (
            {"content_sid": "HX1"},
            "the Content template's SID is not valid",
            "Write HX and 32 of 0-9 and a-f",
        ),
        (
            {"content_sid": CONTENT_SID, "content_variables": {"name": "x"}},
            "'name' is no content variable",
            "Write its number in the template, like 1",
        ),
        (
            {"content_sid": CONTENT_SID, "content_variables": {"1": " "}},
            "the text is empty",
            "Fill it in, or remove the key",
        ),
        ({"txt": "a.txt"}, "unknown key 'txt'", "Did you mean 'text'?"),
    ],
)
def test_faults_of_whatsapp_templates_say_what_to_do(templates, problem, fix):
    assert problems(on_whatsapp(templates))[0] == (problem, fix)


def test_a_content_template_has_a_part_for_each_variable_and_no_file():
    variables = {1: "{{ name }}", "2": "file:not.txt"}
    base = {"content_sid": CONTENT_SID, "content_variables": variables}
    spec = CampaignSpec.model_validate(on_whatsapp(base))

    assert message_sources(spec, {}, Channel.WHATSAPP) == {
        "var.1": NamedTemplate(name="content variable 1", source="{{ name }}"),
        "var.2": NamedTemplate(name="content variable 2", source="file:not.txt"),
    }
    assert template_references(spec) == {}
    assert spec.content_sid(Channel.WHATSAPP) == CONTENT_SID
    assert CampaignSpec.model_validate(spec.as_json()) == spec


def test_whatsapp_templates_are_replaced_as_a_whole():
    german = {"content_sid": "HX" + "b" * 32}
    spec = CampaignSpec.model_validate(
        on_whatsapp(
            {"content_sid": CONTENT_SID, "content_variables": {"1": "{{ name }}"}},
            translations={"de": {"whatsapp": german}, "fr": {"whatsapp": {"text": "fr.txt"}}},
        )
    )

    assert message_sources(spec, {}, Channel.WHATSAPP, "", "de") == {}
    assert spec.content_sid(Channel.WHATSAPP, "", "de") == german["content_sid"]
    assert message_sources(spec, {"fr.txt": "Salut"}, Channel.WHATSAPP, "", "fr") == {
        "text": NamedTemplate(name="fr.txt", source="Salut")
    }
    assert spec.content_sid(Channel.WHATSAPP, "", "fr") == ""


def test_a_variant_on_whatsapp_says_what_it_is_in_every_language():
    arm = {"name": "a", "templates": {"whatsapp": {"text": "a.txt"}}}
    spec = on_whatsapp({"content_sid": CONTENT_SID}, translations={"de": {"whatsapp": {"text": "de.txt"}}})

    assert problems(spec | {"variants": [arm]})[0] == (
        "variant 'a' changes the message of whatsapp, which 'de' then lacks",
        "Add it under the variant's translations: de: whatsapp:",
    )


def test_every_fault_is_found():
    found = problems(changed(id="-", batch_size=0, channels=["fax"]))

    assert [problem for problem, _ in found] == [
        "'-' is not an id",
        "'fax' is not a value of 'channels'",
        "'batch_size' should be greater than or equal to 1",
    ]


def test_only_marketing_email_needs_a_postal_address():
    for changes in ({"class": "transactional"}, {"channels": ["sms"]}):
        assert CampaignSpec.model_validate(changed(postal_address=None, **changes)).postal_address == ""


def test_a_variant_changes_only_what_it_names():
    spec = CampaignSpec.model_validate(VALID)

    assert message_sources(spec, TEMPLATES, Channel.EMAIL, "b") == {
        "subject": NamedTemplate(name="b.subject.txt", source="Hi"),
        "html": NamedTemplate(name="news.html", source="<p>"),
        "text": NamedTemplate(name="news.txt", source="text"),
    }
    assert message_sources(spec, TEMPLATES, Channel.SMS, "b") == {
        "text": NamedTemplate(name="news.sms.txt", source="sms")
    }


def test_an_inline_subject_needs_no_file_and_text_may_be_left_out():
    templates = {"email": {"subject": "Hi {{ name }}", "html": "news.html"}}
    spec = CampaignSpec.model_validate(changed(channels=["email"], templates=templates, variants=None))

    assert message_sources(spec, TEMPLATES, Channel.EMAIL) == {
        "subject": NamedTemplate(name="subject", source="Hi {{ name }}"),
        "html": NamedTemplate(name="news.html", source="<p>"),
    }


def test_asking_for_an_unknown_variant_or_channel_raises():
    spec = CampaignSpec.model_validate(VALID)

    with pytest.raises(KeyError):
        spec.templates_of(Channel.EMAIL, "c")
    with pytest.raises(KeyError):
        spec.templates_of(Channel.WHATSAPP)


def test_template_references_say_where_each_file_is_named():
    assert template_references(CampaignSpec.model_validate(VALID)) == {
        ("templates", "email", "html"): "news.html",
        ("templates", "email", "text"): "news.txt",
        ("templates", "sms", "text"): "news.sms.txt",
        ("variants", 1, "templates", "email", "subject"): "b.subject.txt",
    }


def test_the_digest_depends_on_content_alone():
    spec = CampaignSpec.model_validate(VALID)
    reordered = CampaignSpec.model_validate(dict(reversed(VALID.items())))
    backwards = dict(reversed(TEMPLATES.items()))

    assert digest(spec, TEMPLATES) == digest(reordered, backwards)
    assert digest(spec, TEMPLATES) != digest(spec, TEMPLATES | {"news.html": "<p> "})
    assert digest(spec, TEMPLATES) != digest(CampaignSpec.model_validate(changed(batch_size=999)), TEMPLATES)
    assert len(digest(spec, TEMPLATES)) == 64
