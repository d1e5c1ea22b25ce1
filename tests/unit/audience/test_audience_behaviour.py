"""Behaviour conditions on a real DuckDB, against the same written out in plain Python."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from comms_pipeline.audience.definition import compile_audience
from comms_pipeline.audience.references import SavedSegment
from comms_pipeline.domain.errors import InvalidSegment
from comms_pipeline.domain.segment import Audience

AUDIENCE: TypeAdapter[Audience] = TypeAdapter(Audience)
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message and when it made its steps."""

    campaign: str
    topic: str | None
    channel: str
    delivered: datetime | None = None
    opened: datetime | None = None
    opened_by_person: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Deal:
    """One business event, credited to a campaign's message or to none."""

    type: str
    at: datetime
    value: float | None = None
    currency: str | None = None
    credited: str | None = None


@dataclass(frozen=True, kw_only=True)
class Contact:
    """One contact with all that is on record; `score`: type, engagement, churn risk."""

    tags: object = None
    score: tuple[str, float, float | None] | None = None
    messages: tuple[Message, ...] = ()
    deals: tuple[Deal, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)


SPRING = Message(campaign="spring", topic="bread", channel="email", delivered=ago(40))
PEOPLE: Mapping[str, Contact] = {
    "ada": Contact(
        tags=["vip", "sp\u00e9cial"],
        score=("hot", 0.9, 0.0),
        messages=(
            Message(
                campaign="spring",
                topic="bread",
                channel="email",
                delivered=ago(40),
                opened=ago(40),
                opened_by_person=ago(39),
            ),
            Message(
                campaign="summer",
                topic=None,
                channel="sms",
                delivered=ago(5),
                opened=ago(5),
                opened_by_person=ago(4),
            ),
        ),
        deals=(
            Deal(type="purchase", at=ago(3), value=80, currency="EUR", credited="summer"),
            Deal(type="purchase", at=ago(60), value=20, currency="USD"),
        ),
    ),
    "bob": Contact(
        tags="vip, local",
        score=("warm", 0.3, 0.4),
        messages=(SPRING, Message(campaign="summer", topic=None, channel="email", opened=ago(1))),
        deals=(Deal(type="custom.visit", at=ago(2)),),
    ),
    "cat": Contact(tags=["local"], score=("cold", 0.05, 0.9), messages=(SPRING,)),
    "dan": Contact(score=("new", 0.0, None), attributes={"note": "vip"}),
    "eve": Contact(tags=[["vip"]]),
}


@pytest.fixture(scope="module")
def lake() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        connection.execute("set TimeZone = 'UTC'; create schema core; create schema campaign")
        connection.execute(
            "create table core.contacts (contact_id varchar, organisation_id varchar, language varchar,"
            " attributes varchar, is_erased boolean);"
            "create table core.contact_scores (contact_id varchar, organisation_id varchar, audience_type varchar,"
            " engagement_score double, churn_risk double);"
            "create table core.message_status (contact_id varchar, organisation_id varchar, send_id varchar,"
            " channel varchar, delivered_at timestamptz, first_opened_at timestamptz,"
            " first_human_opened_at timestamptz);"
            "create table core.business_events (contact_id varchar, organisation_id varchar, type varchar,"
            " occurred_at timestamptz, value_micros bigint, currency varchar);"
            "create table core.conversions (contact_id varchar, organisation_id varchar, type varchar,"
            " send_id varchar, channel varchar, occurred_at timestamptz, value_micros bigint, currency varchar);"
            "create table campaign.sends (send_id varchar, campaign_id varchar, organisation_id varchar);"
            "create table campaign.messages (send_id varchar, topic varchar);"
            "insert into campaign.sends values ('spring', 'spring', 'ours'), ('summer', 'summer', 'ours');"
            "insert into campaign.messages values ('spring', 'bread'), ('summer', null)"
        )
        for name, contact in PEOPLE.items():
            _store(connection, "ours", name, contact)
            _store(connection, "theirs", f"x-{name}", contact)
        # Erasing takes the scores away; what was sent stays.
        _store(connection, "ours", "gone", replace(PEOPLE["ada"], score=None), is_erased=True)
        _sum_up(connection)
        yield connection


def _store(
    connection: duckdb.DuckDBPyConnection,
    organisation: str,
    name: str,
    contact: Contact,
    *,
    is_erased: bool = False,
) -> None:
    attributes = contact.attributes | ({} if contact.tags is None else {"tags": contact.tags})
    connection.execute(
        "insert into core.contacts values (?, ?, ?, ?, ?)",
        [name, organisation, name[0], json.dumps(attributes), is_erased],
    )
    if contact.score is not None:
        connection.execute(
            "insert into core.contact_scores values (?, ?, ?, ?, ?)", [name, organisation, *contact.score]
        )
    for each in contact.messages:
        times = [each.delivered, each.opened, each.opened_by_person]
        connection.execute(
            "insert into core.message_status values (?, ?, ?, ?, ?, ?, ?)",
            [name, organisation, each.campaign, each.channel, *times],
        )
    for deal in contact.deals:
        worth = [None if deal.value is None else int(deal.value * 1_000_000), deal.currency]
        connection.execute(
            "insert into core.business_events values (?, ?, ?, ?, ?, ?)",
            [name, organisation, deal.type, deal.at, *worth],
        )
        if deal.credited:
            connection.execute(
                "insert into core.conversions values (?, ?, ?, ?, 'sms', ?, ?, ?)",
                [name, organisation, deal.type, deal.credited, deal.at, *worth],
            )


def _sum_up(connection: duckdb.DuckDBPyConnection) -> None:
    """Give the rows of scores their steps, as far as there are any."""
    moments = {
        "delivered": "delivered_at",
        "opened": "first_opened_at",
        "human_opened": "first_human_opened_at",
    }
    steps = ", ".join(
        f"'{step}': {{'times': count({moment}), 'last_at': max({moment})}}"
        for step, moment in moments.items()
    )
    for channel in ("email", "sms", "whatsapp"):
        connection.execute(
            "create or replace table core.contact_scores as "
            f"select s.*, c.steps as {channel}_steps from core.contact_scores s left join "
            f"(select contact_id, {{{steps}}} as steps from core.message_status "
            f"where channel = '{channel}' group by contact_id) c using (contact_id)"
        )


def selected(
    lake: duckdb.DuckDBPyConnection, definition: object, saved: Mapping[str, object] | None = None
) -> list[str]:
    segments = {
        name: SavedSegment(name=name, version=1, definition=AUDIENCE.validate_python(each))
        for name, each in (saved or {}).items()
    }
    by_messages, by_steps = (
        _run(lake, AUDIENCE.validate_python(definition), segments, has_steps=has_steps)
        for has_steps in (False, True)
    )
    assert by_messages == by_steps
    return by_steps


def _run(
    lake: duckdb.DuckDBPyConnection,
    definition: Audience,
    saved: Mapping[str, SavedSegment],
    *,
    has_steps: bool,
) -> list[str]:
    query = compile_audience(definition, "ours", saved=saved, now=NOW, has_steps=has_steps)
    return sorted(row[0] for row in lake.execute(query.sql, query.parameters).fetchall())


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ({"event": "delivered"}, ["ada", "bob", "cat"]),
        ({"event": "opened"}, ["ada"]),
        ({"event": "opened", "count_machines": True}, ["ada", "bob"]),
        ({"event": "opened", "count": {"exactly": 0}}, ["bob", "cat", "dan", "eve"]),
        ({"event": "delivered", "count": {"exactly": 1}}, ["bob", "cat"]),
        ({"event": "delivered", "count": {"at_least": 2}}, ["ada"]),
        ({"event": "delivered", "count": {"at_most": 1}}, ["bob", "cat", "dan", "eve"]),
        ({"event": "delivered", "count": {"at_least": 1, "at_most": 1}}, ["bob", "cat"]),
        ({"event": "delivered", "within_days": 30}, ["ada"]),
        ({"event": "delivered", "within_days": 40}, ["ada", "bob", "cat"]),
        ({"event": "delivered", "within_days": 39, "count": {"exactly": 0}}, ["bob", "cat", "dan", "eve"]),
        ({"event": "delivered", "since": "2026-05-01"}, ["ada"]),
        ({"event": "delivered", "before": "2026-05-01"}, ["ada", "bob", "cat"]),
        ({"event": "delivered", "before": "2026-04-22T00:00:00Z"}, []),
        ({"event": "delivered", "campaign": "summer"}, ["ada"]),
        ({"event": "delivered", "topic": "bread"}, ["ada", "bob", "cat"]),
        ({"event": "delivered", "topic": "general"}, ["ada"]),
        ({"event": "delivered", "channel": "sms"}, ["ada"]),
        ({"event": "purchase"}, ["ada"]),
        ({"event": "purchase", "value_at_least": 80.01}, []),
        ({"event": "purchase", "value_at_least": 80, "currency": "EUR"}, ["ada"]),
        ({"event": "purchase", "value_at_least": 80, "currency": "USD"}, []),
        ({"event": "purchase", "campaign": "summer"}, ["ada"]),
        ({"event": "purchase", "campaign": "spring"}, []),
        ({"event": "custom.visit", "count": {"at_most": 0}}, ["ada", "cat", "dan", "eve"]),
        ({"score": "engagement_score", "between": [0.3, 1]}, ["ada", "bob"]),
        ({"score": "engagement_score", "between": [0, 0.3]}, ["bob", "cat", "dan", "eve"]),
        ({"score": "churn_risk", "between": [0, 0.4]}, ["ada", "bob"]),
        ({"audience_type": "hot"}, ["ada"]),
        ({"audience_type": "new"}, ["dan", "eve"]),
        ({"audience_type": "all"}, ["ada", "bob", "cat", "dan", "eve"]),
        ({"audience_type": "all", "intent_score_min": 0.05, "intent_score_max": 0.3}, ["bob", "cat"]),
        ({"audience_type": "cold", "intent_score_min": 0.06}, []),
        ({"list": "vip"}, ["ada", "bob"]),
        ({"list": "sp\u00e9cial"}, ["ada"]),
        ({"list": "vi"}, []),
        ({"all": [{"event": "delivered"}, {"not": {"event": "opened"}}]}, ["bob", "cat"]),
        ({"all": [{"event": "delivered"}, {"field": "language", "op": "eq", "value": "c"}]}, ["cat"]),
        ({"all": [{"audience_type": "hot"}, {"event": "purchase", "within_days": 7}]}, ["ada"]),
    ],
)
def test_a_condition_finds_whoever_did_it(lake, definition, expected):
    assert selected(lake, definition) == expected


def evaluate(condition: Mapping[str, Any], contact: Contact) -> bool:
    """What a condition means, of one contact."""
    match condition:
        case {"all": parts}:
            return all(evaluate(part, contact) for part in parts)
        case {"any": parts}:
            return any(evaluate(part, contact) for part in parts)
        case {"not": part}:
            return not evaluate(part, contact)
        case {"event": _}:
            times = sum(_counts(condition, contact))
            count = condition.get("count", {"at_least": 1})
            lowest = count.get("exactly", count.get("at_least", 0))
            return lowest <= times <= count.get("exactly", count.get("at_most", 10**9))
        case {"score": name, "between": [lowest, highest]}:
            _, engagement, churn = contact.score or ("new", 0.0, None)
            value = engagement if name == "engagement_score" else churn
            return value is not None and lowest <= value <= highest
        case {"audience_type": kind}:
            own, engagement, _ = contact.score or ("new", 0.0, None)
            bounds = condition.get("intent_score_min", 0), condition.get("intent_score_max", 1)
            return kind in ("all", own) and bounds[0] <= engagement <= bounds[1]
        case {"list": name}:
            tags = contact.tags
            return name in ([tag.strip() for tag in tags.split(",")] if isinstance(tags, str) else tags or [])
    raise AssertionError(condition)


def _counts(condition: Mapping[str, Any], contact: Contact) -> Iterator[bool]:
    kind, chosen = condition["event"], {"campaign", "topic", "channel"} & set(condition)
    for message in contact.messages:
        if kind in ("delivered", "opened"):
            by_person = kind == "opened" and not condition.get("count_machines")
            at = message.opened_by_person if by_person else getattr(message, kind)
            own = {"campaign": message.campaign, "topic": message.topic or "general"}
            own["channel"] = message.channel
            yield _within(condition, at) and all(condition[name] == own[name] for name in chosen)
    for deal in contact.deals:
        topic = {"spring": "bread", "summer": "general", None: None}[deal.credited]
        own = {"campaign": deal.credited or "", "topic": topic or "", "channel": "sms" if topic else ""}
        yield (
            deal.type == kind
            and _within(condition, deal.at)
            and (deal.value or -1) >= condition.get("value_at_least", -1)
            and all(condition[name] == own[name] for name in chosen)
        )


def _within(condition: Mapping[str, Any], at: datetime | None) -> bool:
    return at is not None and (
        ("within_days" not in condition or at >= ago(condition["within_days"]))
        and ("since" not in condition or at >= datetime.fromisoformat(condition["since"]))
        and ("before" not in condition or at < datetime.fromisoformat(condition["before"]))
    )


counts = st.one_of(
    st.fixed_dictionaries({"exactly": st.integers(0, 2)}),
    st.fixed_dictionaries({"at_least": st.integers(1, 2)}),
    st.fixed_dictionaries({"at_most": st.integers(0, 2)}),
    st.fixed_dictionaries({"at_least": st.integers(0, 1), "at_most": st.integers(1, 2)}),
)
shares = st.sampled_from([0.0, 0.05, 0.3, 0.31, 0.9, 1.0])
ranges = st.tuples(shares, shares).map(sorted)
days = st.sampled_from([2, 5, 39, 40, 100])
_of = {
    "count": counts,
    "campaign": st.sampled_from(["spring", "summer", "autumn"]),
    "topic": st.sampled_from(["bread", "general"]),
    "channel": st.sampled_from(["email", "sms"]),
    "before": st.sampled_from(["2026-05-29T00:00:00+00:00", "2026-05-10T00:00:00+00:00"]),
}
_since = st.sampled_from(["2026-04-01T00:00:00+00:00", "2026-04-24T00:00:00+00:00"])
leaves = st.one_of(
    *(
        st.fixed_dictionaries({"event": kind}, optional=_of | begins | extra)
        for begins in ({"within_days": days}, {"since": _since})
        for kind, extra in (
            (st.just("delivered"), {}),
            (st.just("opened"), {"count_machines": st.booleans()}),
            (st.sampled_from(["purchase", "custom.visit"]), {"value_at_least": st.sampled_from([20, 80])}),
        )
    ),
    st.fixed_dictionaries({"score": st.sampled_from(["engagement_score", "churn_risk"]), "between": ranges}),
    st.fixed_dictionaries({"audience_type": st.sampled_from(["all", "hot", "warm", "cold", "new"])}),
    ranges.map(
        lambda ends: {"audience_type": "all", "intent_score_min": ends[0], "intent_score_max": ends[1]}
    ),
    st.fixed_dictionaries({"list": st.sampled_from(["vip", "local", "nobody"])}),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"all": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"any": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"not": inner}),
    ),
    max_leaves=5,
)


@settings(max_examples=300)
@given(condition=conditions)
def test_sql_finds_whom_plain_python_finds(lake, condition):
    assert selected(lake, condition) == [
        name for name, contact in PEOPLE.items() if evaluate(condition, contact)
    ]


@given(condition=conditions, other=conditions)
def test_all_any_and_not_keep_to_the_laws_of_sets(lake, condition, other):
    one, two = set(selected(lake, condition)), set(selected(lake, other))

    assert set(selected(lake, {"not": condition})) == set(PEOPLE) - one
    assert set(selected(lake, {"all": [condition, other]})) == one & two
    assert set(selected(lake, {"any": [condition, other]})) == one | two
    assert set(selected(lake, {"not": {"all": [condition, other]}})) == set(PEOPLE) - (one & two)


@given(condition=conditions, other=conditions)
def test_a_saved_segment_means_its_definition(lake, condition, other):
    saved = {"first": condition, "second": {"all": [{"segment": "first"}, other]}}

    assert selected(lake, {"segment": "second"}, saved) == selected(lake, {"all": [condition, other]})


def test_segments_may_be_everyone_or_sql_also_within_conditions(lake):
    saved = {
        "all-of-us": {"everyone": True},
        "buyers": {"sql": "select contact_id from business_events where type = 'purchase'"},
    }

    assert selected(lake, {"segment": "all-of-us"}, saved) == sorted(PEOPLE)
    assert selected(lake, {"segment": "buyers"}, saved) == ["ada"]
    assert selected(lake, {"all": [{"segment": "all-of-us"}, {"not": {"segment": "buyers"}}]}, saved) == [
        "bob",
        "cat",
        "dan",
        "eve",
    ]


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({}, "segment a: it is not saved for this organisation. Apply it with `comms segments apply`"),
        (
            {"a": {"segment": "a"}},
            "segment a: it comes back to itself: a → a. Break the circle",
        ),
        (
            {"a": {"not": {"segment": "b"}}, "b": {"any": [{"segment": "a"}, {"list": "vip"}]}},
            "segment a: it comes back to itself: a → b → a. Break the circle",
        ),
        (
            {"a": {"segment": "vpi"}, "vip": {"list": "vip"}},
            "segment vpi: it is not saved for this organisation.",
        ),
        (
            {
                **{chr(97 + n): {"any": [{"segment": chr(98 + n)}] * 2} for n in range(12)},
                "m": {"list": "vip"},
            },
            "audience: it names more than 1000 segments when written out. Name fewer",
        ),
    ],
)
def test_segments_that_mean_nothing_are_refused(lake, saved, message):
    with pytest.raises(InvalidSegment) as caught:
        selected(lake, {"segment": "a"}, saved)

    assert message in str(caught.value)


MESSAGES, CONTACTS, SCORES = "core.message_status", "core.contacts", "core.contact_scores"


@pytest.mark.parametrize(
    ("definition", "read"),
    [
        ({"event": "opened"}, {SCORES}),
        ({"event": "opened", "within_days": 30, "channel": "sms"}, {SCORES}),
        ({"event": "opened", "within_days": 30, "count": {"at_most": 0}}, {SCORES, CONTACTS}),
        ({"all": [{"event": "delivered", "count": {"at_least": 6}}, {"not": {"event": "opened"}}]}, {SCORES}),
        ({"all": [{"score": "churn_risk", "between": [0, 1]}, {"list": "vip"}]}, {SCORES, CONTACTS}),
        ({"event": "opened", "within_days": 30, "count": {"at_least": 2}}, {MESSAGES, CONTACTS}),
        ({"event": "opened", "before": "2026-05-01"}, {MESSAGES, CONTACTS}),
        ({"event": "opened", "campaign": "spring"}, {MESSAGES, CONTACTS}),
        ({"all": [{"audience_type": "hot"}, {"event": "opened", "topic": "bread"}]}, {SCORES, MESSAGES}),
    ],
)
def test_steps_stand_for_messages_wherever_they_tell_enough(definition, read):
    query = compile_audience(AUDIENCE.validate_python(definition), "ours", now=NOW, has_steps=True)

    assert {table for table in (MESSAGES, CONTACTS, SCORES) if f"from {table}" in query.sql} == read


def test_messages_are_read_while_steps_are_behind():
    query = compile_audience(AUDIENCE.validate_python({"event": "opened"}), "ours", now=NOW)

    assert SCORES not in query.sql
    assert MESSAGES in query.sql


def test_no_value_of_a_condition_is_in_the_text_of_the_query():
    definition = {
        "all": [
            {"event": "custom.secret", "since": "2026-01-01", "campaign": "hidden", "currency": "XTS"},
            {"list": "quiet"},
        ]
    }
    query = compile_audience(AUDIENCE.validate_python(definition), "lakeside", now=NOW)

    assert not any(text in query.sql for text in ("secret", "2026", "hidden", "XTS", "quiet", "lakeside"))
