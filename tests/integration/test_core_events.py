"""From events as told to events that happened: plain and odd bodies, repeats, late ones, and ones without a message."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from urllib.parse import urlencode

import polars as pl
import pytest
from audiences import Club, people

from comms_pipeline.dispatch.payload import pack
from comms_pipeline.ledger import batches, landing
from comms_pipeline.loader import events as events_loader
from comms_pipeline.loader.core_events import refresh_events
from comms_pipeline.loader.events import load_provider_events
from comms_pipeline.loader.outcomes import load_outcomes
from comms_pipeline.providers.base import RESULTS
from comms_pipeline.stores import Stores

EPOCH = int(datetime(2026, 12, 1, 12, tzinfo=UTC).timestamp())
OURS = "0123456789abcdef" * 2
PLAIN = {
    "email": "p@people.example",
    "timestamp": EPOCH,
    "smtp-id": "<14c5d75ce93.dfd.64b469@ismtpd-555>",
    "event": "delivered",
    "category": ["batch:1", "offer"],
    "sg_event_id": "ZGVsaXZlcmVk",
    "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
    "response": "250 2.0.0 OK",
    "comms_message": OURS,
    "comms_org": "club",
    "ip": "203.0.113.9",
    "useragent": "Mozilla/5.0 (X11; rv:109.0) Gecko/20100101",
}
ODD_VALUES: dict[str, list[object]] = {
    "event": [None, "", "bounce", "teleported", "bounce:blocked", 5, "weird a@x.example", ["open"], "ö\n"],
    "timestamp": [None, "", "1764590000", 0, -1, 1.5, True, 253402300799, 253402300800, 10**30, "soon"],
    "comms_message": [None, "", OURS.upper(), OURS + "0", 7, [OURS]],
    "comms_org": [None, "", "Club", "club\n", "c" * 63, "c" * 64, 3],
    "sg_message_id": [None, "", ".x", "a", 14, {"a": 1}],
    "sg_event_id": [None, "", 12, 1.0, False],
    "reason": [
        None,
        "",
        "550 <p@people.example> unknown",
        "call +1 212 555 0101",
        'a "quoted" \\ word',
        "nul\x00in",
    ],
    "response": [None, "", 250, "t\tab", "café ✓ 😀"],
    "status": [None, "", "5.1.1", 5.1, 550],
    "type": [None, "", "blocked", "other", 1],
    "url": [
        None,
        "",
        "https://a.example/?x=1&y=2",
        "https://a.example/?u=p%40people.example",
        "https://x/+1",
    ],
    "useragent": [None, "", 'A "quoted" agent', 8, "agent@x.example"],
    "sg_machine_open": [True, False, None, "true", 1],
    "category": ["one", [], ["a@x.example"], [["deep"]], {"deep": {"er": [1, {"x": "b@x.example"}]}}],
    "url_offset": [{"index": 0, "type": "html"}, {"index": 0, "type": "html", "type2": 1}, {"a": 1}, None],
    "custom": [
        1e5,
        -0.0,
        1e16,
        1e-7,
        18446744073709551615,
        -9223372036854775808,
        None,
        "a, inf",
        ", ]",
        "[[",
    ],
    "Email": ["P@people.example"],
    "IP": ["203.0.113.9"],
    "key@x.example": ["value"],
    'key "quoted"': ["value"],
    "nested": [{"email": "p@people.example"}, {"ip": "x"}, {"a": 1, "b": {"from": 2}}],
}
BROKEN = [
    b"",
    b"[]",
    b" [ ] \r\n",
    b"{}",
    b"null",
    b"[null]",
    b"[5]",
    b'[{"event":"open"}, 5]',
    b'[{"event":"open"},]',
    b'[{"event":"open","timestamp":1764590000,}]',
    b'[{"event":"open","timestamp":NaN}]',
    b'[{"event":"open","timestamp":1764590000,"x":-Infinity}]',
    b'[{"event":"open","timestamp":1764590000,"x":1e400}]',
    b'[{"event":"open","timestamp":1764590000} {"event":"open"}]',
    b'[{"event":"open","event":"click","timestamp":1764590000}]',
    b'[{"event":"open","timestamp":1764590000,"x":{"a":1,"a":2}}]',
    b'[{"event":"open","timestamp":1764590000,"url_offset":{"index":1,"type":"html","index":2}}]',
    b'[{"event":"open","timestamp":1764590000,"x":"\\ud800"}]',
    b'[{"event":"op\\u0065n","timestamp":1764590000,"url":"https:\\/\\/a.example?a=1\\u0026b=2"}]',
    b'[{"event":"open","timestamp":1764590000,"x":"\\u0000\\u001f\\u007f"}]',
    b'[{"event":"open","timestamp":1764590000,"x":"\xff"}]',
    b'\xef\xbb\xbf[{"event":"open","timestamp":1764590000}]',
    b'[{"event":"open","timestamp":1764590000}] trailing',
    b'[ {\t"event" : "open" ,\r\n "timestamp":1764590000 , "n":01 } ]',
    b'[ {\t"event" : "open" ,\r\n "timestamp":1764590000 , "n":[ 1 , 2 ] } ]\r\n',
    b'[{"event":"open","timestamp":1764590000,"x":123456789012345678901234567890}]',
    b'[{"event":"open","timestamp":1764590000,"x":1.0,"y":-0,"z":1E5,"w":0.1e-6}]',
    b"[" * 2000 + b"]" * 2000,
]


@pytest.fixture
def club(shared_stores: Stores, tmp_path) -> Club:
    """A club with six members, planned and queued; what came before is worked in."""
    work_in(shared_stores)
    club = Club.founded(shared_stores, tmp_path)
    club.enrol(people(6))
    club.announce()
    club.plan()
    club.enqueue()
    return club


def work_in(stores: Stores) -> int:
    """Load everything; returns how many events were new."""
    load_outcomes(stores)
    load_provider_events(stores)
    return refresh_events(stores)


def messages(club: Club) -> list[str]:
    query = (
        "select message_id from campaign.messages join core.contacts using (contact_id) "
        "where send_id = $id order by email"
    )
    return [row[0] for row in club.rows(query)]


def land(club: Club, provider: str, kind: str, body: bytes, query: str = "") -> int:
    with club.stores.ledger() as ledger:
        return landing.land(ledger, provider, kind, query, body)


def tell(club: Club, *events: dict[str, object]) -> int:
    """One webhook of SendGrid's."""
    return land(club, "sendgrid", "events", json.dumps(events).encode())


def answer(club: Club, message_id: str, provider_message_id: str) -> None:
    """An accepted outcome with the id the provider gave."""
    row = {"message_id": message_id, "status": "accepted", "provider_message_id": provider_message_id}
    with club.stores.ledger() as ledger:
        [(batch_id,)] = ledger.execute("select batch_id from batch where send_id = %s", (club.id,)).fetchall()
        results = pack(pl.DataFrame([row], schema=RESULTS))
        batches.record_outcome(ledger, batch_id=batch_id, send_id=club.id, results=results)


def odd_bodies() -> Iterator[bytes]:
    """Plain events with one thing odd each, alone and among plain ones, in both spellings of JSON."""
    for name, values in ODD_VALUES.items():
        for value, is_bounce in product(values, (False, True)):
            event = PLAIN | ({"event": "bounce", "type": "bounce"} if is_bounce else {}) | {name: value}
            yield json.dumps([PLAIN, event]).encode()
            yield json.dumps([event], ensure_ascii=False, separators=(",", ":")).encode()
    for name in PLAIN:
        yield json.dumps([{key: value for key, value in PLAIN.items() if key != name}]).encode()
    yield from BROKEN


def test_bodies_read_as_columns_give_the_rows_of_bodies_read_one_by_one(club, monkeypatch):
    bodies = list(odd_bodies())
    assert len(bodies) > 300

    def told(least_bytes: int) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
        with club.stores.ledger() as ledger, ledger.transaction():
            first, *_ = [landing.land(ledger, "sendgrid", "events", "", body) for body in bodies]
        monkeypatch.setattr(events_loader, "_BYTES_READ_AS_COLUMNS", least_bytes)
        load_provider_events(club.stores)
        columns = (
            "landing_id - $first, position, provider, kind, raw_kind, "
            "case when occurred_at <> received_at then occurred_at end, organisation_id, message_id, "
            "provider_message_id, provider_event_id, reason, code, url, user_agent, is_machine, payload, ip_key, "
            "is_head, is_prefetch"
        )
        events = f"select {columns} from raw.provider_events where landing_id >= $first order by all"
        rejects = (
            "select landing_id - $first, provider, reason from raw.event_rejects "
            "where landing_id >= $first order by all"
        )
        return club.rows(events, first=first), club.rows(rejects, first=first)

    one_by_one = told(least_bytes=10**9)
    as_columns = told(least_bytes=0)
    assert len(one_by_one[0]) > 400
    assert len(one_by_one[1]) > 10
    assert as_columns[1] == one_by_one[1]
    for found, expected in zip(as_columns[0], one_by_one[0], strict=True):
        assert found == expected


def test_webhooks_read_in_many_parts_and_commits_are_there_once_and_in_order(club, monkeypatch):
    for name, value in {
        "_FEWEST_WEBHOOKS": 2,
        "_MOST_WEBHOOKS": 2,
        "_WEBHOOKS_PER_COMMIT": 9,
        "_EVENTS_PER_INSERT": 5,
        "_BYTES_READ_AS_COLUMNS": 0,
    }.items():
        monkeypatch.setattr(events_loader, name, value)
    landed = [
        tell(club, *(PLAIN | {"sg_event_id": f"{webhook}-{place}"} for place in range(webhook % 3)))
        for webhook in range(20)
    ]
    landed.append(land(club, "sendgrid", "events", b"{}"))
    loaded = load_provider_events(club.stores)
    assert (loaded.webhooks, loaded.events, loaded.rejects) == (21, 19, 1)
    found = club.rows(
        "select landing_id, position, provider_event_id, load_id from raw.provider_events "
        "where landing_id >= $first order by load_id, landing_id, position",
        first=landed[0],
    )
    assert [row[:3] for row in found] == [
        (landing_id, place, f"{webhook}-{place}")
        for webhook, landing_id in enumerate(landed[:20])
        for place in range(webhook % 3)
    ]
    assert len({load_id for *_, load_id in found}) == 3
    assert load_provider_events(club.stores).webhooks == 0


def test_a_failure_behind_what_was_read_ahead_leaves_nothing_and_the_next_run_brings_all(club, monkeypatch):
    monkeypatch.setattr(events_loader, "_FEWEST_WEBHOOKS", 1)
    monkeypatch.setattr(events_loader, "_MOST_WEBHOOKS", 1)
    monkeypatch.setattr(events_loader, "_EVENTS_PER_INSERT", 1)
    landed = [tell(club, PLAIN) for _ in range(6)]
    original = events_loader.events_frame
    reads: list[object] = []

    def failing(records):
        reads.append(records)
        if len(reads) == 5:
            raise MemoryError
        return original(records)

    monkeypatch.setattr(events_loader, "events_frame", failing)
    with pytest.raises(MemoryError):
        load_provider_events(club.stores)
    there = "select count(*) from raw.provider_events where landing_id between $first and $last"
    ends = {"first": landed[0], "last": landed[-1]}
    assert club.rows(there, **ends) == [(0,)]
    assert load_provider_events(club.stores).webhooks == 6
    assert club.rows(there, **ends) == [(6,)]


def test_most_events_of_plain_bodies_need_no_parser(club, monkeypatch):
    from comms_pipeline.loader import sendgrid_rows

    monkeypatch.setattr(events_loader, "_BYTES_READ_AS_COLUMNS", 0)
    parsed: list[object] = []
    original = sendgrid_rows.record
    monkeypatch.setattr(sendgrid_rows, "record", lambda *given: parsed.append(given) or original(*given))
    bounce = PLAIN | {"event": "bounce", "reason": "550 <p@people.example> unknown"}
    told = [*(PLAIN | {"timestamp": EPOCH + second} for second in range(50)), bounce]
    land(club, "sendgrid", "events", json.dumps(told, separators=(",", ":")).encode())

    assert load_provider_events(club.stores).events == 51
    assert len(parsed) == 1


def test_kinds_nobody_knows_and_rejects_are_counted(club):
    tell(
        club,
        PLAIN | {"event": "teleported"},
        PLAIN | {"event": "teleported"},
        PLAIN | {"event": "beamed"},
        PLAIN,
    )
    land(club, "pigeon", "post", b"coo")
    loaded = load_provider_events(club.stores)

    assert loaded.unknown_kinds == [("sendgrid", "teleported", 2), ("sendgrid", "beamed", 1)]
    assert loaded.reject_reasons == {("pigeon", "no parser knows it"): 1}


def test_a_parser_that_fails_holds_nothing_up(club):
    def fails(_: str, __: bytes) -> list[object]:
        raise ZeroDivisionError("p@people.example")

    land(club, "pigeon", "post", b"coo")
    loaded = load_provider_events(club.stores, parsers={("pigeon", "post"): fails})
    assert loaded.reject_reasons == {("pigeon", "its parser failed (ZeroDivisionError)"): 1}


def test_every_commit_of_the_loader_has_a_growing_number(club):
    first, second = (messages(club)[n] for n in (0, 1))
    numbers = []
    for message_id in (first, second):
        landed = tell(club, PLAIN | {"comms_message": message_id})
        load_provider_events(club.stores)
        query = "select load_id from raw.provider_events where landing_id = $landed"
        numbers += club.rows(query, landed=landed)
        refresh_events(club.stores)
        numbers += club.rows("select load_id from core.events where message_id = $m", m=message_id)
    assert numbers == sorted(set(numbers))


def test_an_event_told_in_other_runs_under_the_same_or_another_id_is_one(club):
    message_id = messages(club)[0]
    opened = PLAIN | {"event": "open", "comms_message": message_id}
    for told in (
        opened | {"sg_event_id": "e1"},
        opened | {"sg_event_id": "e2"},
        # Under a known id, with another time.
        opened | {"sg_event_id": "e1", "timestamp": EPOCH + 1},
        opened | {"sg_event_id": "e2", "timestamp": EPOCH + 2},
    ):
        tell(club, told, told)
        work_in(club.stores)
    assert club.rows("select occurred_at, match from core.events where message_id = $m", m=message_id) == [
        (datetime.fromtimestamp(EPOCH, UTC), "message_id")
    ]
    assert club.rows("select count(*) from raw.provider_events where message_id = $m", m=message_id) == [(8,)]


def test_a_callback_that_tells_no_time_is_one_however_often_and_late_it_comes(club):
    body = urlencode({"MessageSid": f"SM{club.id}-late", "MessageStatus": "delivered", "To": "+12125550101"})
    for among in range(3):
        # Each run has events with a time as well, which are looked up in another way.
        tell(club, PLAIN | {"comms_message": messages(club)[among]})
        land(club, "twilio", "status", body.encode())
        work_in(club.stores)
    told = "select count(*) from {} where provider_message_id = $sid"
    assert club.rows(told.format("raw.provider_events"), sid=f"SM{club.id}-late") == [(3,)]
    assert club.rows(told.format("core.events"), sid=f"SM{club.id}-late") == [(1,)]


def test_a_late_event_goes_in_with_its_own_time(club):
    message_id = messages(club)[0]
    tell(club, PLAIN | {"event": "open", "comms_message": message_id})
    work_in(club.stores)
    tell(club, PLAIN | {"comms_message": message_id, "timestamp": EPOCH - 9 * 86_400})
    work_in(club.stores)
    kinds = "select kind, epoch(occurred_at)::bigint from core.events where message_id = $m order by 2"
    assert club.rows(kinds, m=message_id) == [("delivered", EPOCH - 9 * 86_400), ("opened", EPOCH)]


def test_an_event_without_our_id_finds_its_message_by_the_providers(club):
    first, second, third, *_ = messages(club)
    answer(club, first, f"{club.id}-one")
    # One request, two messages: it does not tell which.
    answer(club, second, f"{club.id}-two")
    answer(club, third, f"{club.id}-two")
    for request in ("one", "two"):
        event = {name: value for name, value in PLAIN.items() if name != "comms_message"}
        tell(
            club,
            event
            | {
                "event": "bounce",
                "sg_message_id": f"{club.id}-{request}.x",
                "sg_event_id": f"{club.id}-{request}",
            },
        )
    work_in(club.stores)

    query = (
        "select provider_message_id, message_id, send_id, match from core.events "
        "where provider_message_id like $like"
    )
    assert sorted(club.rows(query, like=f"{club.id}-%")) == [
        (f"{club.id}-one", first, club.id, "provider_id"),
        (f"{club.id}-two", None, None, "unmatched"),
    ]


def test_an_unmatched_event_is_mended_when_its_outcome_comes(club):
    first = messages(club)[0]
    body = urlencode({"MessageSid": f"SM{club.id}", "MessageStatus": "delivered", "To": "+12125550101"})
    land(club, "twilio", "status", body.encode())
    assert work_in(club.stores) == 1
    query = "select message_id, send_id, match, kind from core.events where provider_message_id = $sid"
    assert club.rows(query, sid=f"SM{club.id}") == [(None, None, "unmatched", "delivered")]

    with club.stores.lake.writer() as writer:
        writer.cursor.execute(
            "insert into core.outcomes by name select 1 as outcome_id, 1 as batch_id, $id as send_id, "
            "$m as message_id, 'accepted' as status, 'twilio' as provider, $sid as provider_message_id, "
            "now() as recorded_at, "
            "(select max(last_id) + 1 from raw.watermarks where feed = 'loads') as load_id",
            {"id": club.id, "m": first, "sid": f"SM{club.id}"},
        )
    assert refresh_events(club.stores) == 0
    assert club.rows(query, sid=f"SM{club.id}") == [(first, club.id, "provider_id", "delivered")]
    assert refresh_events(club.stores) == 0
    assert len(club.rows(query, sid=f"SM{club.id}")) == 1


def test_a_run_without_news_writes_nothing(club):
    tell(club, PLAIN | {"comms_message": messages(club)[0]})
    work_in(club.stores)
    before = club.rows("select max(snapshot_id) from ducklake_snapshots('lake')")
    assert work_in(club.stores) == 0
    assert club.rows("select max(snapshot_id) from ducklake_snapshots('lake')") == before
