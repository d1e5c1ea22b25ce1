"""Decisions: every rule over every contact, all failures told, one holder for each address."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comms_pipeline.compliance.decide import decide
from comms_pipeline.compliance.rules_file import load_rules
from comms_pipeline.domain.message import Channel, MessageClass

SCHEMA = pl.Schema(
    {
        "contact_id": pl.String,
        "address": pl.String,
        "address_key": pl.Binary,
        "suppression_reason": pl.String,
        "consent_source": pl.String,
        "holdout": pl.String,
        "precedence": pl.Int32,
    }
)


def contacts(*rows: dict[str, object]) -> pl.DataFrame:
    usual = {
        "address": "someone@lakeside.example",
        "suppression_reason": None,
        "consent_source": "form",
        "holdout": None,
        "precedence": 1,
    }
    filled = [usual | {"address_key": row["contact_id"].encode()} | row for row in rows]
    return pl.DataFrame(filled, schema=SCHEMA)


def decided(
    frame: pl.DataFrame,
    message_class: MessageClass = MessageClass.MARKETING,
    channel: Channel = Channel.EMAIL,
) -> dict[str, tuple[str, dict[str, str]]]:
    """By contact: the decision, and the evidence by rule."""
    found = decide(frame, load_rules(), channel=channel, message_class=message_class)
    assert found["channel"].to_list() == [str(channel)] * frame.height
    return {
        row["contact_id"]: (row["decision"], {rule["rule_id"]: rule["evidence"] for rule in row["rules"]})
        for row in found.iter_rows(named=True)
    }


def test_a_contact_that_fails_nothing_is_allowed():
    assert decided(contacts({"contact_id": "a"})) == {"a": ("allowed", {})}


def test_every_failed_rule_is_listed_with_its_evidence():
    frame = contacts(
        {"contact_id": "a", "address_key": b"same"},
        {
            "contact_id": "b",
            "address_key": b"same",
            "suppression_reason": "bounced",
            "consent_source": None,
            "precedence": 2,
        },
        {"contact_id": "c", "address": None, "address_key": None, "consent_source": None, "precedence": 2},
    )

    assert decided(frame) == {
        "a": ("allowed", {}),
        "b": (
            "excluded",
            {
                "consent-recorded": "no consent on record",
                "not-suppressed": "suppressed: bounced",
                "unique-address": "same address as contact a",
            },
        ),
        "c": (
            "excluded",
            {
                "address-present": "no valid address for this channel",
                "consent-recorded": "no consent on record",
            },
        ),
    }


@pytest.mark.parametrize(
    ("channel", "message_class", "failed"),
    [
        (Channel.WHATSAPP, MessageClass.MARKETING, {"whatsapp-no-us-marketing": "the number begins with +1"}),
        (Channel.WHATSAPP, MessageClass.TRANSACTIONAL, {}),
        (Channel.SMS, MessageClass.MARKETING, {}),
    ],
)
def test_numbers_of_plus_one_get_no_marketing_on_whatsapp(channel, message_class, failed):
    frame = contacts(
        {"contact_id": "a", "address": "+12025550101"}, {"contact_id": "b", "address": "+4369912345678"}
    )
    decision = "excluded" if failed else "allowed"

    assert decided(frame, message_class, channel) == {"a": (decision, failed), "b": ("allowed", {})}


@pytest.mark.parametrize("message_class", list(MessageClass))
def test_whatsapp_needs_consent_for_messages_of_every_class(message_class):
    frame = contacts({"contact_id": "a", "address": "+4369912345678", "consent_source": None})

    (decision, evidence) = decided(frame, message_class, Channel.WHATSAPP)["a"]

    assert (decision, list(evidence.values())) == ("excluded", ["no consent on record"])


def test_a_decision_carries_the_version_of_each_rule():
    frame = contacts({"contact_id": "a", "suppression_reason": "manual"})

    found = decide(frame, load_rules(), channel=Channel.SMS, message_class=MessageClass.EMERGENCY)

    assert found["rules"].to_list() == [
        [{"rule_id": "not-suppressed", "version": 2, "evidence": "suppressed: manual"}]
    ]


@pytest.mark.parametrize(
    ("message_class", "decision"),
    [
        (MessageClass.MARKETING, "excluded"),
        (MessageClass.TRANSACTIONAL, "allowed"),
        (MessageClass.EMERGENCY, "allowed"),
    ],
)
def test_unknown_consent_excludes_from_marketing_only(message_class, decision):
    frame = contacts({"contact_id": "a", "consent_source": None})

    assert decided(frame, message_class)["a"][0] == decision


@pytest.mark.parametrize("message_class", MessageClass)
def test_a_suppressed_address_is_excluded_from_every_class(message_class):
    frame = contacts({"contact_id": "a", "suppression_reason": "complained"})

    assert decided(frame, message_class)["a"] == ("excluded", {"not-suppressed": "suppressed: complained"})


def test_who_is_held_out_is_told_beside_whatever_else_speaks_against_a_message():
    frame = contacts(
        {"contact_id": "a", "holdout": "5 %"},
        {"contact_id": "b", "holdout": "5 %", "consent_source": None},
    )

    evidence = "held out: 5 % of contacts, to compare with"
    # Only the first may be compared with: the second would have got nothing anyway.
    assert decided(frame) == {
        "a": ("excluded", {"holdout": evidence}),
        "b": ("excluded", {"consent-recorded": "no consent on record", "holdout": evidence}),
    }


@pytest.mark.parametrize("message_class", [MessageClass.TRANSACTIONAL, MessageClass.EMERGENCY])
def test_only_marketing_is_ever_held_out(message_class):
    assert decided(contacts({"contact_id": "a", "holdout": "5 %"}), message_class)["a"] == ("allowed", {})


def test_who_shares_the_address_of_a_contact_held_out_gets_nothing_either():
    frame = contacts(
        {"contact_id": "a", "address_key": b"same", "holdout": "5 %"},
        {"contact_id": "b", "address_key": b"same"},
    )

    assert decided(frame)["b"] == ("excluded", {"unique-address": "same address as contact a"})


def test_a_rule_of_another_channel_is_not_run():
    rules = [rule.model_copy(update={"channels": frozenset({Channel.SMS})}) for rule in load_rules()]
    frame = contacts({"contact_id": "a", "suppression_reason": "manual"})

    assert decide(frame, rules, channel=Channel.EMAIL, message_class=MessageClass.MARKETING)[
        "decision"
    ].to_list() == ["allowed"]


def test_the_holder_of_a_shared_address_has_the_lowest_precedence_then_the_smallest_id():
    frame = contacts(
        {"contact_id": "a", "address_key": b"same", "precedence": 2, "consent_source": None},
        {"contact_id": "c", "address_key": b"same"},
        {"contact_id": "b", "address_key": b"same"},
    )

    found = decided(frame)

    assert {contact: decision for contact, (decision, _) in found.items()} == {
        "a": "excluded",
        "b": "allowed",
        "c": "excluded",
    }
    assert found["c"][1] == {"unique-address": "same address as contact b"}


def test_nobody_is_decided_for_an_empty_audience():
    found = decide(contacts(), load_rules(), channel=Channel.EMAIL, message_class=MessageClass.MARKETING)

    assert found.height == 0
    assert found.schema == {
        "contact_id": pl.String,
        "channel": pl.String,
        "rules": pl.List(pl.Struct({"rule_id": pl.String, "version": pl.Int32, "evidence": pl.String})),
        "decision": pl.String,
    }


@st.composite
def audiences(draw: st.DrawFn) -> pl.DataFrame:
    addresses = draw(st.lists(st.sampled_from([b"1", b"2", b"3", None]), max_size=12))
    suppressed = draw(st.sets(st.sampled_from([b"1", b"2", b"3"]), max_size=1))
    has_consent = draw(st.lists(st.booleans(), min_size=len(addresses), max_size=len(addresses)))
    is_planned = draw(st.lists(st.booleans(), min_size=len(addresses), max_size=len(addresses)))
    return contacts(
        *(
            {
                "contact_id": f"{number:02}",
                "address": address and "someone@lakeside.example",
                "address_key": address,
                "suppression_reason": "bounced" if address in suppressed else None,
                "consent_source": "form" if consent else None,
                "precedence": 0 if planned else 1 if consent else 2,
            }
            for number, (address, consent, planned) in enumerate(
                zip(addresses, has_consent, is_planned, strict=True)
            )
        )
    )


@settings(deadline=None)
@given(audiences(), st.randoms(use_true_random=False))
def test_one_contact_of_each_address_at_most_is_allowed_whatever_the_order(frame, random):
    found = decided(frame, MessageClass.TRANSACTIONAL)
    order = list(range(frame.height))
    random.shuffle(order)

    assert decided(frame[order], MessageClass.TRANSACTIONAL) == found
    allowed = frame.filter(
        pl.Series([found[key][0] == "allowed" for key in frame["contact_id"]], dtype=pl.Boolean)
    )
    reachable = frame.filter(pl.col("address_key").is_not_null() & pl.col("suppression_reason").is_null())
    # Never two, and nobody's address is forgotten over the deciding.
    assert sorted(allowed["address_key"]) == sorted(reachable["address_key"].unique())


@settings(deadline=None)
@given(audiences())
def test_marketing_never_allows_more_than_the_law_does(frame):
    for row in frame.iter_rows(named=True):
        decision, rules = decided(frame)[row["contact_id"]]
        forbidden = row["consent_source"] is None or row["suppression_reason"] or row["address"] is None
        assert decision == ("excluded" if rules else "allowed")
        assert decision == "excluded" or not forbidden
