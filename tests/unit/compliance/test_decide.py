"""Decisions: every rule over every contact, all findings told. What each rule says is in `test_rule_corpus`."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comms_pipeline.compliance.decide import decide
from comms_pipeline.compliance.rules_file import Rule, load_rules
from comms_pipeline.domain.cap import Cap
from comms_pipeline.domain.hours import Hours
from comms_pipeline.domain.message import Channel, MessageClass
from comms_pipeline.domain.sending_hours import SendingHours

TIME = pl.Datetime("us", "UTC")
SCHEMA = pl.Schema(
    {
        "contact_id": pl.String,
        "address": pl.String,
        "holder": pl.String,
        "suppression_reason": pl.String,
        "consent_kind": pl.String,
        "consent_state": pl.String,
        "consent_at": TIME,
        "is_wanted": pl.Boolean,
        "paused_until": TIME,
        "quiet_from": pl.Int16,
        "quiet_until": pl.Int16,
        "weekly_cap": pl.Int16,
        "date_off": pl.Date,
        "recent_at": pl.List(TIME),
        "recent_topics": pl.List(pl.String),
        "birth_date": pl.Date,
        "is_minor": pl.Boolean,
        "is_do_not_call": pl.Boolean,
        "holdout": pl.String,
        "zones": pl.List(pl.String),
        "jurisdictions": pl.List(pl.String),
    }
)
USUAL: dict[str, Any] = dict.fromkeys(SCHEMA) | {
    "address": "someone@lakeside.example",
    "consent_kind": "written",
    "consent_state": "given",
    "consent_at": datetime(2026, 1, 1, tzinfo=UTC),
    "recent_at": [],
    "recent_topics": [],
    "is_do_not_call": False,
    "zones": ["America/New_York"],
    "jurisdictions": ["US", "US-NY"],
}
NOON = datetime(2026, 11, 24, 17, tzinfo=UTC)  # a Tuesday in New York
NIGHT = datetime(2026, 11, 25, 4, tzinfo=UTC)


def facts(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([USUAL | row for row in rows], schema=SCHEMA)


def decided(
    frame: pl.DataFrame,
    message_class: str | None = MessageClass.MARKETING,
    channel: Channel = Channel.EMAIL,
    at: datetime = NOON,
) -> dict[str, tuple[str, dict[str, str]]]:
    """By contact: the decision, and the evidence by rule."""
    found = decide(frame, load_rules(), channel=channel, message_class=message_class, at=at)
    assert found["channel"].to_list() == [str(channel)] * frame.height
    return {
        row["contact_id"]: (row["decision"], {rule["rule_id"]: rule["evidence"] for rule in row["rules"]})
        for row in found.iter_rows(named=True)
    }


def rule(rule_id: str) -> Rule:
    return next(each for each in load_rules() if each.id == rule_id)


def test_a_contact_that_fails_nothing_is_allowed() -> None:
    assert decided(facts({"contact_id": "a"})) == {"a": ("allowed", {})}


def test_every_failed_rule_is_told_with_its_evidence() -> None:
    frame = facts(
        {"contact_id": "a"},
        {
            "contact_id": "b",
            "holder": "a",
            "suppression_reason": "bounced",
            "consent_state": None,
            "recent_at": [NOON - timedelta(hours=2), NOON - timedelta(hours=1)],
            "recent_topics": ["general", "general"],
            "weekly_cap": 2,
            "paused_until": datetime(2026, 12, 1, 9, 30, tzinfo=UTC),
            "birth_date": date(2020, 5, 17),
            "holdout": "5 %",
        },
        {"contact_id": "c", "address": None, "is_wanted": False, "consent_state": "withdrawn"},
    )

    assert decided(frame) == {
        "a": ("allowed", {}),
        "b": (
            "excluded",
            {
                "consent-recorded": "no consent on record",
                "holdout": "held out: 5 % of contacts, to compare with",
                "minor-us": "younger than 13",
                "not-suppressed": "suppressed: bounced",
                "paused": "paused until 2026-12-01 09:30 UTC",
                "unique-address": "same address as contact a",
                "weekly-cap": "2 of 2 messages within 168 hours",
            },
        ),
        "c": (
            "excluded",
            {
                "address-present": "no valid address for this channel",
                "consent-recorded": "consent is withdrawn",
                "topic-unwanted": "the contact does not want this type of message",
            },
        ),
    }


def test_evidence_about_consent_says_what_is_needed_and_what_there_is() -> None:
    frame = facts(
        {"contact_id": "a", "consent_kind": "hearsay", "jurisdictions": ["DE", "EU"]},
        {"contact_id": "b", "consent_state": "pending", "jurisdictions": ["GB"]},
        {
            "contact_id": "c",
            "consent_kind": "implied-purchase",
            "consent_at": datetime(2020, 1, 1, tzinfo=UTC),
            "jurisdictions": ["CA"],
        },
        {"contact_id": "d", "consent_kind": "implied", "consent_at": None, "jurisdictions": []},
    )

    needed = "needs consent of the kind express or written or double-opt-in or soft-opt-in; on record: "
    assert decided(frame) == {
        "a": ("excluded", {"eu-consent": f"{needed}implied"}),
        "b": (
            "excluded",
            {
                "consent-recorded": "consent is not confirmed yet",
                "eu-consent": f"{needed}not confirmed yet",
            },
        ),
        "c": ("excluded", {"casl-implied-consent": "implied-purchase consent lapsed after 24 months"}),
        "d": ("excluded", {"casl-implied-consent": "implied consent without a date"}),
    }


def test_evidence_of_a_closed_window_tells_whose_clock_closes_it() -> None:
    texas = {"zones": ["America/Chicago"], "jurisdictions": ["US", "US-TX"]}
    split = {"zones": ["America/Chicago", "America/New_York"], "jurisdictions": ["US", "US-KY"]}
    frame = facts(
        {"contact_id": "a", **texas},
        {"contact_id": "b", **split},
        {"contact_id": "c", **texas, "date_off": date(2026, 11, 22)},
        {"contact_id": "d", "zones": [], "jurisdictions": []},
        {"contact_id": "e", "zones": ["America/Chicago"], "jurisdictions": ["US", "US-AL"]},
    )

    found = decided(frame, channel=Channel.SMS, at=datetime(2026, 11, 22, 13, 30, tzinfo=UTC))

    closed = "Sun 07:30 in America/Chicago, open 08:00-21:00"
    assert found == {
        "a": (
            "deferred",
            {
                "daytime": closed,
                "tcpa-hours": closed,
                "us-tx-hours": "Sun 07:30 in America/Chicago, open 12:00-21:00",
            },
        ),
        "b": ("deferred", {"daytime": closed, "tcpa-hours": closed}),
        "c": (
            "deferred",
            {
                "day-off": "Sun 07:30 in America/Chicago, a day off",
                "daytime": closed,
                "tcpa-hours": closed,
                "us-tx-hours": "Sun 07:30 in America/Chicago, open 12:00-21:00",
            },
        ),
        "d": ("excluded", {"daytime": "local time unknown; never open within 14 days"}),
        "e": (
            "deferred",
            {
                "daytime": closed,
                "tcpa-hours": closed,
                "us-al-hours": "Sun 07:30 in America/Chicago, closed all day",
            },
        ),
    }


def test_hours_are_told_of_whoever_a_window_covers_and_of_nobody_else() -> None:
    frame = facts(
        {"contact_id": "a", "zones": ["America/Chicago"], "jurisdictions": ["US", "US-TX"]},
        {"contact_id": "b", "date_off": date(2026, 12, 5), "quiet_from": 1140, "quiet_until": 540},
        {"contact_id": "c", "zones": [], "jurisdictions": []},
    )

    by_sms = decide(
        frame, load_rules(), channel=Channel.SMS, message_class="marketing", at=NOON + timedelta(hours=1)
    )
    by_email = decide(frame, load_rules(), channel=Channel.EMAIL, message_class="transactional", at=NOON)

    assert by_sms["hours"].to_list() == [
        "Mon-Sat 09:00-21:00, Sun 12:00-21:00 in America/Chicago",
        "Mon-Sun 09:00-19:00 in America/New_York except 2026-12-05",
        None,
    ]
    assert by_sms["decision"].to_list() == ["allowed", "allowed", "excluded"]
    assert by_email["hours"].to_list() == [
        None,
        "Mon-Sun 00:00-24:00 in America/New_York except 2026-12-05",
        None,
    ]


def test_a_decision_carries_the_version_of_each_rule() -> None:
    frame = facts({"contact_id": "a", "suppression_reason": "manual"})

    found = decide(frame, load_rules(), channel=Channel.SMS, message_class="emergency", at=NOON)

    assert found["rules"].to_list() == [
        [{"rule_id": "not-suppressed", "version": 2, "evidence": "suppressed: manual"}]
    ]


@pytest.mark.parametrize("message_class", [None, "", "newsletter", "MARKETING"])
def test_a_class_that_is_not_known_counts_as_marketing(message_class) -> None:
    frame = facts({"contact_id": "a", "consent_state": None})

    assert decided(frame, message_class)["a"] == ("excluded", {"consent-recorded": "no consent on record"})


@pytest.mark.parametrize(
    "change", [{"channels": {Channel.SMS}}, {"topics": {"news"}}, {"jurisdictions": {"GB"}}]
)
def test_a_rule_of_another_channel_topic_or_place_is_not_run(change) -> None:
    covering = rule("not-suppressed")
    other = Rule(**{**vars(covering), **{key: frozenset(value) for key, value in change.items()}})
    frame = facts({"contact_id": "a", "suppression_reason": "manual"})

    decisions = [
        decide(frame, [each], channel=Channel.EMAIL, message_class="marketing", topic="offers", at=NOON)
        for each in (covering, other)
    ]

    assert [found["decision"].item() for found in decisions] == ["excluded", "allowed"]


@pytest.mark.parametrize(
    ("jurisdiction", "places", "is_covered"),
    [
        ("any", [], True),
        ("US", ["US", "US-TX"], True),
        ("US", ["CA", "US"], True),
        ("US", ["CA"], False),
        ("US", [], False),
        ("US-TX", ["US"], False),
        ("US-TX", ["US", "US-TX"], True),
        ("US-unknown", ["US"], True),
        ("US-unknown", ["EU", "US"], True),
        ("US-unknown", ["US", "US-TX"], False),
        ("US-unknown", ["CA"], False),
        ("US-unknown", [], False),
        ("unknown", [], True),
        ("unknown", ["US"], False),
        ("EU", ["DE", "EU"], True),
    ],
)
def test_a_rule_covers_whoever_may_be_in_its_jurisdiction(jurisdiction, places, is_covered) -> None:
    local = Rule(**{**vars(rule("address-present")), "jurisdictions": frozenset({jurisdiction})})

    assert local.covers(places) is is_covered


def test_several_caps_are_told_together() -> None:
    frame = facts(
        {
            "contact_id": "a",
            "recent_at": [NOON - timedelta(hours=2), NOON - timedelta(hours=1)],
            "recent_topics": ["offers", "news"],
        }
    )
    caps = [
        Cap(channel=Channel.EMAIL, topic="*", messages=2, hours=24),
        Cap(channel=Channel.EMAIL, topic="news", messages=1, hours=168),
        Cap(channel=Channel.EMAIL, topic="offers", messages=1, hours=168),
    ]

    found = decide(
        frame,
        load_rules(),
        channel=Channel.EMAIL,
        message_class="marketing",
        topic="news",
        at=NOON,
        caps=caps,
    )

    assert found["rules"].to_list() == [
        [
            {
                "rule_id": "organisation-caps",
                "version": 1,
                "evidence": "2 of 2 messages within 24 hours; 1 of 1 messages within 168 hours",
            }
        ]
    ]


def test_nobody_is_decided_for_an_empty_audience() -> None:
    found = decide(facts(), load_rules(), channel=Channel.EMAIL, message_class="marketing", at=NOON)

    assert found.height == 0
    assert found.schema == {
        "contact_id": pl.String,
        "channel": pl.String,
        "decision": pl.String,
        "not_before": TIME,
        "hours": pl.String,
        "rules": pl.List(pl.Struct({"rule_id": pl.String, "version": pl.Int32, "evidence": pl.String})),
    }


def test_a_time_without_a_zone_is_refused() -> None:
    naive = NOON.replace(tzinfo=None)

    with pytest.raises(ValueError, match="needs a time zone"):
        decide(facts(), load_rules(), channel=Channel.EMAIL, message_class="marketing", at=naive)


def test_without_rules_for_a_message_everybody_is_allowed() -> None:
    found = decide(facts({"contact_id": "a"}), [], channel=Channel.EMAIL, message_class="marketing", at=NOON)

    assert found.select("decision", "rules").to_dicts() == [{"decision": "allowed", "rules": []}]


# Each value speaks against a message: at once, or until some time.
AGAINST: list[dict[str, Any]] = [
    {"address": None},
    {"holder": "somebody"},
    {"suppression_reason": "stopped"},
    {"consent_state": None},
    {"consent_state": "pending"},
    {"consent_kind": "implied"},
    {"is_wanted": False},
    {"paused_until": datetime(2030, 1, 1, tzinfo=UTC)},
    {"weekly_cap": 1, "recent_at": [NOON], "recent_topics": ["general"]},
    {"birth_date": date(2026, 1, 1)},
    {"is_minor": True},
    {"is_do_not_call": True},
    {"holdout": "5 %"},
    {"quiet_from": 600, "quiet_until": 840},
    {"quiet_from": 0, "quiet_until": 0},
    {"date_off": date(2026, 11, 24)},
]
PLACES = [
    (["America/New_York"], ["US", "US-NY"]),
    (["America/Chicago", "America/New_York"], ["US", "US-FL"]),
    (["America/Chicago"], ["US"]),
    (["America/Toronto"], ["CA", "CA-ON"]),
    (["Europe/Berlin"], ["DE", "EU"]),
    (["Pacific/Kanton", "Pacific/Kiritimati", "Pacific/Tarawa"], ["KI"]),
    (["Australia/Lord_Howe"], ["AU"]),
    ([], []),
]
# Instants from October to April, with all the days on which clocks change.
INSTANTS = st.integers(0, 170 * 24 * 3600).map(
    lambda seconds: datetime(2026, 10, 20, tzinfo=UTC) + timedelta(seconds=seconds)
)
MESSAGES = st.tuples(st.sampled_from(list(MessageClass)), st.sampled_from(list(Channel)), INSTANTS)
HOURS = st.sampled_from(
    [None, SendingHours.model_validate({"open": "09:00-20:00", "days_off": ["saturday"]})]
)


@st.composite
def audiences(draw: st.DrawFn) -> pl.DataFrame:
    people = draw(
        st.lists(
            st.tuples(st.sampled_from(PLACES), st.lists(st.sampled_from(AGAINST), max_size=3)), max_size=8
        )
    )
    rows = []
    for number, ((zones, jurisdictions), speaking) in enumerate(people):
        row: dict[str, Any] = {
            "contact_id": f"{number:02}",
            "zones": zones,
            "jurisdictions": jurisdictions,
        }
        for fact in speaking:
            row |= fact
        rows.append(row)
    return facts(*rows)


def decide_message(frame: pl.DataFrame, message: tuple[Any, ...], hours: SendingHours | None) -> pl.DataFrame:
    message_class, channel, at = message
    return decide(frame, load_rules(), channel=channel, message_class=message_class, at=at, hours=hours)


@settings(deadline=None)
@given(audiences(), MESSAGES, HOURS)
def test_every_contact_gets_exactly_one_decision_and_a_reason_unless_allowed(frame, message, hours) -> None:
    found = decide_message(frame, message, hours)

    assert found["contact_id"].to_list() == frame["contact_id"].to_list()
    assert set(found["decision"]) <= {"allowed", "deferred", "excluded"}
    assert (found["decision"] == "allowed").to_list() == (found["rules"].list.len() == 0).to_list()
    assert (found["decision"] == "deferred").to_list() == found["not_before"].is_not_null().to_list()


@settings(deadline=None)
@given(audiences(), MESSAGES, HOURS)
def test_who_is_deferred_is_so_until_the_first_open_minute(frame, message, hours) -> None:
    at = message[2]
    found = decide_message(frame, message, hours)

    for row in found.iter_rows(named=True):
        open_hours = row["hours"] and Hours.parse(row["hours"])
        if row["decision"] == "allowed":
            assert open_hours is None or open_hours.is_open(at)
        if row["decision"] == "deferred":
            then = row["not_before"]
            minute = at.replace(second=0, microsecond=0)
            waiting = range(int((then - minute) / timedelta(minutes=1)))
            assert then > at
            assert open_hours.is_open(then)
            # Not the minute before either, nor any of a sample of those between.
            samples = [*waiting[:: max(len(waiting) // 50, 1)], *waiting[-1:]]
            assert not any(open_hours.is_open(minute + timedelta(minutes=wait)) for wait in samples)


@settings(deadline=None)
@given(audiences(), MESSAGES, HOURS, st.sampled_from(AGAINST))
def test_one_more_fact_against_it_never_lets_a_message_through(frame, message, hours, fact) -> None:
    worse = pl.DataFrame([row | fact for row in frame.to_dicts()], schema=SCHEMA)

    before = decide_message(frame, message, hours)["decision"]
    after = decide_message(worse, message, hours)["decision"]

    # Who has quiet hours already would get others instead, not more.
    is_replaced = frame["quiet_from"].is_not_null() & ("quiet_from" in fact)
    assert not (~is_replaced & (before != "allowed") & (after == "allowed")).any()


@settings(deadline=None)
@given(audiences(), MESSAGES, HOURS, st.randoms(use_true_random=False))
def test_the_order_of_contacts_does_not_matter(frame, message, hours, random) -> None:
    order = list(range(frame.height))
    random.shuffle(order)

    found = decide_message(frame[order], message, hours)

    assert found.rows() == decide_message(frame, message, hours)[order].rows()
