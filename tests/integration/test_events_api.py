"""`POST /events` and `comms import events`: what is landed, what is refused and why, and that no address is kept."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests
import typer
from browsing import SECRET, Client, Query, emptied, serving, web_ledger
from fastapi import FastAPI
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from comms_pipeline.cli import events as cli_events
from comms_pipeline.ledger.sends import Organisation, put_organisation
from comms_pipeline.ledger.server import Server, connect
from comms_pipeline.providers.business_events import LandedEvent, parse
from comms_pipeline.stores import Stores
from comms_pipeline.web.answers import Pages, install_error_answers
from comms_pipeline.web.events_api import EventsApi

KEY = "key-of-these-tests"
ANN = "a" * 32
PURCHASE = {
    "idempotency_key": "order-1",
    "organisation": "club",
    "type": "purchase",
    "contact_id": ANN,
    "occurred_at": "2026-05-01T14:00:00+02:00",
    "value": 49.9,
    "currency": "EUR",
}
LANDED = "select provider, kind, query, body from landing order by landing_id"


def put_club(database: Server) -> None:
    with connect(database, autocommit=True) as connection:
        put_organisation(
            connection, Organisation(organisation_id="club", name="The Club", postal_address="1 Harbor Lane")
        )


@pytest.fixture(scope="module")
def web_database(postgres: Server) -> Server:
    server = web_ledger(postgres, "web_events")
    put_club(server)
    return server


def app_of(database: Server, key: str) -> tuple[FastAPI, ConnectionPool]:
    app, pool = FastAPI(), ConnectionPool(database.conninfo(), max_size=4, open=True)
    install_error_answers(app, Pages())
    app.include_router(EventsApi(SecretStr(key), SecretStr(SECRET.decode()), pool).router())
    return app, pool


@pytest.fixture(scope="module")
def client(web_database: Server) -> Iterator[Client]:
    app, pool = app_of(web_database, KEY)
    with pool, serving(app) as client:
        yield client


@pytest.fixture(autouse=True)
def query(web_database: Server) -> Iterator[Query]:
    with emptied(web_database) as run:
        yield run


def post(client: Client, told: object, authorization: str | None = f"Bearer {KEY}") -> requests.Response:
    body = told if isinstance(told, bytes) else orjson.dumps(told)
    return client.post(
        "/events", data=body, headers={"authorization": authorization} if authorization else {}
    )


def landed(query: Query) -> list[LandedEvent]:
    return [event for _, _, _, body in query(LANDED) for event in parse(bytes(body))]


def test_an_event_is_landed_before_it_is_acknowledged(client: Client, query: Query):
    answer = post(client, PURCHASE)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1})
    [event] = landed(query)
    assert (event.organisation_id, event.type, event.idempotency_key, event.source) == (
        "club",
        "purchase",
        "order-1",
        "api",
    )
    assert (event.contact_ids, event.value_micros, event.currency) == ((ANN,), 49_900_000, "EUR")
    assert event.occurred_at == datetime(2026, 5, 1, 12, tzinfo=UTC)
    assert [row[:3] for row in query(LANDED)] == [("business", "events", "")]


def test_an_array_is_one_landing(client: Client, query: Query):
    events = [PURCHASE | {"idempotency_key": f"order-{number}"} for number in range(1000)]
    assert post(client, events).json() == {"accepted": 1000}
    assert len(query(LANDED)) == 1
    assert len({event.event_id for event in landed(query)}) == 1000


def test_the_same_key_is_the_same_event(client: Client, query: Query):
    assert post(client, PURCHASE).status_code == 202
    assert post(client, PURCHASE | {"value": 1}).status_code == 202
    first, second = landed(query)
    assert first.event_id == second.event_id


def test_no_address_is_landed(client: Client, query: Query):
    told = {key: value for key, value in PURCHASE.items() if key != "contact_id"} | {
        "email": "Ann.Smith@Example.com",
        "phone": "+1 212 555 0123",
        "external_id": "customer-9",
        "properties": {"note": "call +1 212 555 0123 or ann.smith@example.com", "items": 3, "gift": True},
    }
    assert post(client, told).status_code == 202
    [(_, _, _, body)] = query(LANDED)
    for secret in (b"smith", b"Smith", b"example.com", b"2125550123", b"555 0123", b"customer-9"):
        assert secret not in bytes(body)
    [event] = landed(query)
    assert len(event.contact_ids) == 3
    assert all(len(contact_id) == 32 for contact_id in event.contact_ids)
    assert orjson.loads(event.properties) == {"gift": True, "items": 3, "note": "call <address> or <address>"}


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer wrong", f"Basic {KEY}", KEY, "Bearer é"]
)
def test_without_the_key_nothing_is_read_or_stored(client: Client, query: Query, authorization):
    value = authorization.encode("latin-1").decode("latin-1") if authorization else authorization
    answer = post(client, PURCHASE, value)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert query(LANDED) == []


def test_without_a_key_configured_the_receiver_is_closed(web_database: Server, query: Query):
    app, pool = app_of(web_database, "")
    with pool, serving(app) as client:
        for authorization in (None, "Bearer ", f"Bearer {KEY}"):
            assert post(client, PURCHASE, authorization).status_code == 503
    assert query(LANDED) == []


@pytest.mark.parametrize(
    ("change", "field", "problem"),
    [
        ({"idempotency_key": None}, "idempotency_key", "'idempotency_key' is missing"),
        ({"idempotency_key": "two words"}, "idempotency_key", "the idempotency_key is no plain text"),
        ({"idempotency_key": "ann@example.com"}, "idempotency_key", "the idempotency_key holds an address"),
        ({"organisation": "Club!"}, "organisation", "'Club!' is not an id"),
        ({"organisation": "nobody"}, "organisation", "the organisation 'nobody' is not known"),
        ({"type": "purchse"}, "type", "unknown type 'purchse'"),
        ({"type": "custom."}, "type", "unknown type 'custom.'"),
        ({"contact_id": "ann"}, "contact_id", "'contact_id' string should match pattern '^[0-9a-f]{32}$'"),
        ({"contact_id": None}, None, "a purchase needs somebody who did it"),
        ({"email": "ann@"}, "email", "it is not a valid e-mail address"),
        ({"phone": "212 555 0123"}, "phone", "it is not a valid phone number"),
        ({"occurred_at": "2026-05-01T12:00:00"}, "occurred_at", "'occurred_at' is no time with a zone"),
        ({"occurred_at": 1777636800}, "occurred_at", "'occurred_at' is no time with a zone"),
        ({"occurred_at": "0001-01-01T00:00:00+14:00"}, "occurred_at", "'occurred_at' is no time with a zone"),
        ({"occurred_at": "2999-05-01T12:00:00Z"}, "occurred_at", "'occurred_at' is in the future"),
        ({"value": "many"}, "value", "'value' is no amount of money"),
        ({"value": -1}, "value", "'value' is no amount of money"),
        ({"value": True}, "value", "'value' is no amount of money"),
        ({"value": 0.0000001}, "value", "'value' is no amount of money"),
        ({"value": 1e300}, "value", "'value' is no amount of money"),
        ({"value": None}, None, "'value' and 'currency' go together"),
        ({"value": None, "currency": None}, None, "a purchase needs a value and a currency"),
        ({"currency": "euro"}, "currency", "'currency' string should match pattern '^[A-Z]{3}$'"),
        ({"type": "stock_low"}, None, "a stock_low needs properties.item"),
        ({"properties": {"cart": [1]}}, "properties.cart", "a property is a list or an object"),
        ({"properties": {"note": "x" * 501}}, "properties.note", "a property is longer than 500 characters"),
        ({"ocurred_at": "now"}, "ocurred_at", "unknown key 'ocurred_at'"),
    ],
)
def test_what_is_wrong_is_said_by_item_and_field_and_nothing_is_stored(
    client: Client, query: Query, change, field, problem
):
    wrong = {key: value for key, value in (PURCHASE | change).items() if value is not None}
    answer = post(client, [PURCHASE, wrong])
    assert answer.status_code == 422
    [told] = answer.json()["faults"]
    assert (told["item"], told["field"], told["problem"]) == (1, field, problem)
    assert told["fix"]
    assert answer.json()["error"] == f"item 1: {problem}. {told['fix']}"
    assert "ann@" not in answer.text
    assert query(LANDED) == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"5", b"null", b'["order"]', b"[[]]", b"\xff", b"[" * 5000, b"[1e999]"]
)
def test_what_is_no_event_is_refused(client: Client, query: Query, body: bytes):
    assert post(client, body).status_code == 422
    assert query(LANDED) == []


def test_too_many_events_and_too_large_bodies_are_refused(client: Client, query: Query):
    assert post(client, [PURCHASE] * 1001).status_code == 422
    assert post(client, b'"' + b"x" * 5_000_001 + b'"').status_code == 413
    assert query(LANDED) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from([*PURCHASE, "email", "phone", "properties"]), JSON) | JSON)
def test_no_body_makes_an_error_of_ours_or_is_stored_by_halves(client: Client, query: Query, told):
    before = len(query(LANDED))
    item = PURCHASE | told if isinstance(told, dict) else told
    try:
        body = json.dumps([PURCHASE, item]).encode()
    except UnicodeEncodeError:
        return
    answer = post(client, body)
    assert answer.status_code in (202, 422)
    assert len(query(LANDED)) - before == (1 if answer.status_code == 202 else 0)
    assert all(event.event_id for event in landed(query))


# --- Files -----------------------------------------------------------------------------------------------


@pytest.fixture
def home(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> Stores:
    """The installation that the command opens."""
    put_club(stores.server)
    monkeypatch.setattr(cli_events, "open_stores", lambda: stores)
    return stores


def in_landing(stores: Stores) -> list[LandedEvent]:
    with stores.ledger() as ledger:
        return [
            event
            for (body,) in ledger.execute("select body from landing order by landing_id")
            for event in parse(body)
        ]


def test_a_csv_file_is_landed_in_parts(home: Stores, tmp_path: Path, capsys):
    names = ["idempotency_key", "type", "external_id", "occurred_at", "value", "currency", "properties.shop"]
    text = io.StringIO()
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    for number in range(1500):
        told = [f"order-{number}", "purchase", f"c{number}", "2026-05-01T12:00:00Z", "9.99", "EUR", ""]
        writer.writerow(dict(zip(names, told, strict=True)))
    file = tmp_path / "orders.csv"
    file.write_text(text.getvalue(), encoding="utf-8")

    cli_events.import_events(file, organisation="club")
    events = in_landing(home)
    assert (len(events), events[0].value_micros, events[0].source, events[0].properties) == (
        1500,
        9_990_000,
        "file",
        "{}",
    )
    with home.ledger() as ledger:
        assert ledger.execute("select count(*) from landing").fetchall() == [(2,)]
    assert "1,500 events landed for loading, 0 rejected" in capsys.readouterr().out


def test_rejects_are_told_by_line_and_the_others_imported(home: Stores, tmp_path: Path, capsys):
    lines: list[Any] = [
        PURCHASE,
        PURCHASE | {"idempotency_key": "order-2", "email": "ann@"},
        PURCHASE | {"idempotency_key": "order-3", "organisation": "nobody"},
    ]
    file = tmp_path / "orders.ndjson"
    file.write_bytes(b"\n".join([orjson.dumps(line) for line in lines] + [b"", b"{", b"[]"]))
    with pytest.raises(typer.Exit) as exit_:
        cli_events.import_events(file, organisation=None)
    assert exit_.value.exit_code == 1
    assert [event.idempotency_key for event in in_landing(home)] == ["order-1"]
    printed = capsys.readouterr().out
    assert "1 events landed for loading, 4 rejected" in printed
    for line, problem in [
        (2, "it is not a valid e-mail address"),
        (3, "the organisation 'nobody' is not known"),
        (5, "it is no JSON object"),
        (6, "it is no JSON object"),
    ]:
        assert any(str(line) in row and problem in row for row in printed.splitlines())
    assert "ann@" not in printed


def test_a_csv_line_of_another_width_costs_itself_only(home: Stores, tmp_path: Path):
    file = tmp_path / "signups.csv"
    file.write_text(
        "idempotency_key,type,external_id\ns1,signup,c1\ns2,signup\ns3,signup,c3,x\ns4,signup,c4\n", "utf-8"
    )
    with pytest.raises(typer.Exit):
        cli_events.import_events(file, organisation="club")
    assert [event.idempotency_key for event in in_landing(home)] == ["s1", "s4"]


@pytest.mark.parametrize(
    ("content", "problem"), [(b"\xff\xfe", "it is not UTF-8 text"), (None, "No such file")]
)
def test_a_file_that_cannot_be_read_imports_nothing(home: Stores, tmp_path: Path, content, problem):
    file = tmp_path / "orders.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(cli_events.InvalidEventFile, match=problem):
        cli_events.import_events(file, organisation="club")
    assert in_landing(home) == []
