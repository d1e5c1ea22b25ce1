"""Business events in the lake, whose they are, and which message gets the credit, whatever comes late."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comms_pipeline.contacts.identity import with_identity
from comms_pipeline.domain.business_event import Attribution, BusinessEvent, read_event
from comms_pipeline.ledger.feeds import LandingRow
from comms_pipeline.loader.conversions import add_business_events, attribute, rebuild_conversions
from comms_pipeline.loader.verdicts import rescore
from comms_pipeline.providers.business_events import body_of
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
NOW = datetime(2027, 1, 1, tzinfo=UTC)
IDENTITIES = {"contact_id", "external_id", "email", "phone"}
ANN, BOB = "a" * 32, "b" * 32
TABLES = ("core.events", "core.business_events", "core.conversions", "core.contacts", "campaign.sends")
CONVERSIONS = """select event_id, message_id, send_id, contact_id, organisation_id, channel, variant, type, occurred_at,
    touch_kind, touched_at, seconds_since_touch, value_micros, currency, model, window_hours
    from core.conversions order by all"""


@pytest.fixture(scope="module")
def opened(shared_stores: Stores) -> Stores:
    return shared_stores


@pytest.fixture
def lake(opened: Stores) -> Iterator[Stores]:
    """The lake with the sends `spring` of the club and `autumn` of another organisation, and no contact."""
    empty(opened)
    with opened.lake.writer() as writer:
        plain = {"campaign_id": "news", "version": 1, "message_class": "marketing", "due_at": NOON}
        sends = [
            {"send_id": "spring", "organisation_id": "club"} | plain,
            {"send_id": "autumn", "organisation_id": "other"} | plain,
        ]
        writer.append("campaign.sends", pl.DataFrame(sends))
    yield opened
    empty(opened)


def empty(stores: Stores, *tables: str) -> None:
    with stores.lake.writer() as writer:
        for table in tables or TABLES:
            writer.cursor.execute(f"delete from {table}")


def at(hours: float) -> datetime:
    return NOON + timedelta(hours=hours)


def told(key: str, hours: float | None = 0, kind: str = "purchase", **fields: Any) -> BusinessEvent:
    """A business event as its sender tells it."""
    value = {"value": "49.90", "currency": "EUR"} if kind == "purchase" else {}
    when = {} if hours is None else {"occurred_at": at(hours).isoformat()}
    item = {"idempotency_key": key, "organisation": "club", "type": kind} | value | when
    found = read_event(item | ({} if IDENTITIES & fields.keys() else {"contact_id": ANN}) | fields, NOW)
    assert isinstance(found, BusinessEvent)
    return found


def load(stores: Stores, *events: BusinessEvent, body: bytes | None = None) -> tuple[int, int]:
    """Load them as one landing; how many were new, and how many known."""
    if body is None:
        body = body_of(events, source="api", secret=stores.secret)
    row = LandingRow(
        xact=1, id=7, provider="business", kind="events", received_at=at(100), query="", body=body
    )
    with stores.lake.writer() as writer:
        loaded = add_business_events(writer.cursor, [row], secret=stores.secret)
    return loaded.added, loaded.repeated


def touch(
    kind: str, hours: float, message_id: str = "m1", *, load_id: int = 1, **fields: Any
) -> dict[str, Any]:
    """An open, a click or a delivery of a message to Ann."""
    plain = {
        "event_id": f"{kind}-{message_id}-{hours}",
        "message_id": message_id,
        "send_id": "spring",
        "contact_id": ANN,
        "channel": "email",
        "organisation_id": "club",
        "provider": "sendgrid",
        "kind": kind,
        "occurred_at": at(hours),
        "received_at": at(hours) + timedelta(seconds=1),
        "verdict": "unknown",
        "load_id": load_id,
        "is_told_machine": False,
    }
    return plain | fields


def happen(stores: Stores, *events: dict[str, Any], load_id: int = 1) -> None:
    """Add events as the loader does: judged, and conversions credited anew."""
    with stores.lake.writer() as writer:
        rows = [event | {"load_id": load_id} for event in events]
        writer.append("core.events", pl.DataFrame(rows, infer_schema_length=None))
        added = "create or replace temp table added as select distinct message_id from core.events where load_id = "
        writer.cursor.execute(added + str(load_id))
        rescore(writer.cursor, "added", load_id=load_id)
        attribute(writer.cursor, "added")


def rows(stores: Stores, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
    with stores.lake.reader() as cursor:
        return cursor.execute(query, parameters).fetchall()


def credited(stores: Stores) -> list[tuple[Any, ...]]:
    return rows(stores, "select message_id, touch_kind from core.conversions order by all")


def enrol(stores: Stores, contact_id: str, **fields: Any) -> None:
    plain = {
        "contact_id": contact_id,
        "organisation_id": "club",
        "attributes": "{}",
        "is_erased": False,
        "created_at": NOON,
        "updated_at": NOON,
    }
    with stores.lake.writer() as writer:
        writer.append("core.contacts", pl.DataFrame([plain | fields]))


def contact_id_of(stores: Stores, **identity: str) -> str:
    row = pl.select(
        **{name: pl.lit(identity.get(name), pl.String) for name in ("external_id", "email", "phone")}
    )
    return str(with_identity(row, "club", stores.secret)["contact_id"][0])


# --- business events -------------------------------------------------------------------------------------


def test_an_event_is_kept_once_per_idempotency_key_whatever_is_told_again(lake):
    assert load(lake, told("order-1", 2, properties={"shop": "Main St", "items": 3})) == (1, 0)
    assert load(lake, told("order-1", 5, value="1.00", contact_id=BOB), told("order-2", None)) == (1, 1)
    assert load(lake, told("order-1", 2, organisation="other")) == (1, 0)

    query = """select organisation_id, idempotency_key, type, contact_id, occurred_at, received_at, value_micros,
               currency, properties, source from core.business_events order by organisation_id, idempotency_key"""
    assert rows(lake, query) == [
        ("club", "order-1", "purchase", ANN, at(2), at(100), 49_900_000, "EUR", '{"items":3,"shop":"Main St"}', "api"),
        ("club", "order-2", "purchase", ANN, at(100), at(100), 49_900_000, "EUR", "{}", "api"),
        ("other", "order-1", "purchase", ANN, at(2), at(100), 49_900_000, "EUR", "{}", "api"),
    ]  # fmt: skip


def test_the_same_key_twice_in_one_landing_counts_once(lake):
    assert load(lake, told("order-1", 1), told("order-1", 2)) == (1, 1)
    assert rows(lake, "select occurred_at from core.business_events") == [(at(1),)]


def test_a_landing_nobody_can_read_is_told_with_its_reason(lake):
    row = LandingRow(
        xact=1,
        id=7,
        provider="business",
        kind="events",
        received_at=NOON,
        query="",
        body=b'[{"no": "event"}]',
    )
    with lake.lake.writer() as writer:
        loaded = add_business_events(writer.cursor, [row], secret=lake.secret)
    assert (loaded.added, loaded.rejects.rows()) == (0, [(7, "business", NOON, "is not one of ours")])


def test_contacts_are_found_by_whatever_says_who_they_are(lake):
    by_email = contact_id_of(lake, email="Ann@Example.com")
    by_external = contact_id_of(lake, external_id="crm-7")
    enrol(lake, by_email, email="ann@example.com")
    enrol(lake, by_external, external_id="crm-7", email="bob@example.com", phone="+12125550123")
    load(
        lake,
        told("1", email="ann@example.com"),
        told("2", external_id="crm-7"),
        # This contact goes by its external id: only its address tells who it is.
        told("3", email="BOB@example.com"),
        told("4", phone="+1 212 555 0123"),
        # The first that is known counts.
        told("5", external_id="crm-unknown", email="ann@example.com"),
        told("6", contact_id=by_external, email="ann@example.com"),
        # Of another organisation, so somebody else.
        told("7", email="bob@example.com", organisation="other"),
        told("8", 0, "stock_low", contact_id=None, properties={"item": "candles"}),
    )
    found = dict(rows(lake, "select idempotency_key, contact_id from core.business_events"))
    assert found["1"] == found["5"] == by_email
    assert found["2"] == found["3"] == found["4"] == found["6"] == by_external
    assert found["7"] not in (by_email, by_external, None)
    assert found["8"] is None


def test_a_stranger_gets_the_id_that_a_later_import_would_give(lake):
    load(lake, told("1", email="new@example.com"))
    expected = contact_id_of(lake, email="new@example.com")
    assert rows(lake, "select contact_id from core.business_events") == [(expected,)]


# --- credit ----------------------------------------------------------------------------------------------


def test_a_conversion_tells_all_of_the_message_and_the_touch(lake):
    happen(lake, touch("opened", -3), touch("clicked", -2))
    load(lake, told("order-1", 0))
    [row] = rows(lake, CONVERSIONS)
    event_id = told("order-1").event_id
    assert row == (
        event_id, "m1", "spring", ANN, "club", "email", None, "purchase", at(0), "clicked", at(-2), 7200, 49_900_000,
        "EUR", "last_touch", 168,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("touches", "expected"),
    [
        ([touch("clicked", -168)], [("m1", "clicked")]),
        ([touch("clicked", -168.01)], []),
        ([touch("opened", -24)], [("m1", "opened")]),
        ([touch("opened", -24.01)], []),
        ([touch("clicked", 0.01)], []),
        ([touch("delivered", -1)], []),
        ([touch("opened", -2, is_told_machine=True)], []),
        # The last touch, of whichever kind; at one time the click.
        ([touch("clicked", -20, "m1"), touch("opened", -2, "m2")], [("m2", "opened")]),
        ([touch("clicked", -2, "m1"), touch("opened", -2, "m2")], [("m1", "clicked")]),
        ([touch("clicked", -20, "m1"), touch("clicked", -10, "m2")], [("m2", "clicked")]),
        ([touch("clicked", -20, "m1"), touch("opened", -30, "m2")], [("m1", "clicked")]),
        # Not what others did, nor what messages of another organisation brought.
        ([touch("clicked", -2, contact_id=BOB)], []),
        ([touch("clicked", -2, send_id="autumn")], []),
        ([touch("clicked", -2, message_id=None, send_id=None)], []),
    ],
)
def test_the_last_touch_of_a_person_within_its_window_gets_the_credit(lake, touches, expected):
    load(lake, told("order-1", 0))
    happen(lake, *touches)
    assert credited(lake) == expected


@pytest.mark.parametrize(
    ("event", "counts"),
    [
        (told("1", 0, "purchase"), True),
        (told("1", 0, "payment_received", value=1, currency="EUR"), True),
        (told("1", 0, "signup"), True),
        (told("1", 0, "invoice_created", value=1, currency="EUR"), False),
        (told("1", 0, "invite_created"), False),
        (told("1", 0, "custom.booking", value=0, currency="EUR"), True),
        (told("1", 0, "custom.visit"), False),
    ],
)
def test_conversions_are_what_the_table_of_types_says_and_custom_events_with_a_value(lake, event, counts):
    happen(lake, touch("clicked", -2))
    load(lake, event)
    assert credited(lake) == ([("m1", "clicked")] if counts else [])


def test_a_delivery_gets_credit_only_where_configured_and_nothing_else_does(lake):
    happen(lake, touch("delivered", -1, "m1"), touch("clicked", -100, "m2"))
    load(lake, told("order-1", 0), told("order-2", 100))
    assert credited(lake) == [("m2", "clicked")]

    with_views = Attribution(delivered_hours=120)
    assert rebuild_conversions(lake, with_views) == 1
    assert credited(lake) == [("m1", "delivered"), ("m2", "clicked")]
    assert rebuild_conversions(lake, with_views) == 0
    assert rebuild_conversions(lake) == 1


def test_late_and_changed_events_repair_the_past(lake):
    load(lake, told("order-1", 0))
    assert credited(lake) == []
    happen(lake, touch("opened", -200, "m1"), touch("clicked", -50, "m1", url="a"), load_id=1)
    assert credited(lake) == [("m1", "clicked")]
    # A later touch, told later.
    happen(lake, touch("opened", -3, "m2"), touch("clicked", -2, "m2", url="a"), load_id=2)
    assert credited(lake) == [("m2", "clicked")]
    # Two more clicks at once: it was a scanner after all.
    close = [touch("clicked", -2 + seconds / 3600, "m2", url=f"{seconds}") for seconds in (1, 2)]
    happen(lake, *close, load_id=3)
    assert credited(lake) == [("m2", "opened")]
    # The message's events are gone, as after a day was read again.
    empty(lake, "core.events")
    with lake.lake.writer() as writer:
        writer.cursor.execute("create or replace temp table gone as select 'm2' as message_id")
        assert attribute(writer.cursor, "gone") == 1
        assert attribute(writer.cursor, "gone") == 0
    assert credited(lake) == []


HAPPENING = st.one_of(
    st.builds(
        touch,
        st.sampled_from(["clicked", "opened", "delivered"]),
        st.integers(-60, 60).map(lambda hours: hours * 5.0),
        st.sampled_from(["m1", "m2", "m3"]),
        contact_id=st.sampled_from([ANN, BOB]),
        is_told_machine=st.sampled_from([False, False, True]),
    ),
    st.builds(
        told,
        st.sampled_from(["1", "2", "3", "4"]),
        st.integers(-60, 60).map(lambda hours: hours * 5.0 + 1),
        contact_id=st.sampled_from([ANN, BOB]),
    ),
)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(HAPPENING, min_size=1, max_size=5), min_size=1, max_size=3))
def test_step_by_step_gives_what_a_full_rebuild_gives(lake, steps):
    empty(lake, "core.events", "core.business_events", "core.conversions")
    seen: set[str] = set()
    for number, step in enumerate(steps, 1):
        events = [event for event in step if isinstance(event, BusinessEvent)]
        touches = {event["event_id"]: event for event in step if not isinstance(event, BusinessEvent)}
        fresh = [event for event_id, event in touches.items() if event_id not in seen]
        seen |= set(touches)
        if events:
            load(lake, *events)
        if fresh:
            happen(lake, *fresh, load_id=number)
    found = rows(lake, CONVERSIONS)
    assert rebuild_conversions(lake) == 0
    assert rows(lake, CONVERSIONS) == found
    empty(lake, "core.conversions")
    assert rebuild_conversions(lake) == len(found)
    assert rows(lake, CONVERSIONS) == found


def test_what_messages_brought_is_told_by_campaign(lake):
    happen(lake, touch("clicked", -2))
    load(lake, told("1", 0), told("2", 1), told("3", 1, value=1, currency="USD"))
    query = named_queries("lake/queries/conversions.sql")["by_campaign"]
    assert rows(lake, query, organisation=None) == [
        ("news", "email", "purchase", "clicked", "EUR", 2, 1, 99.8),
        ("news", "email", "purchase", "clicked", "USD", 1, 1, 1.0),
    ]
    assert rows(lake, query, organisation="other") == []
