"""The append-only feeds on a real Postgres: no commit order can hide a row from a reader."""

from collections.abc import Callable

import psycopg
import pytest
from sending import EMAIL_LANE, Ledger, recipients

from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import batches, feeds
from comms_pipeline.ledger.feeds import Feed, LandingRow, OutcomeRow, Watermark
from comms_pipeline.ledger.landing import land

SEND = "spring-1"
Row = OutcomeRow | LandingRow
Write = Callable[[psycopg.Connection, bytes], object]


@pytest.fixture
def batch_id(ledger: Ledger) -> int:
    ledger.enqueue(SEND, EMAIL_LANE, recipients(Channel.EMAIL, ["ann"], SEND))
    found: int = ledger.one("select batch_id from batch")
    return found


@pytest.fixture(params=list(Feed))
def feed(request: pytest.FixtureRequest) -> Feed:
    chosen: Feed = request.param
    return chosen


@pytest.fixture
def write(feed: Feed, batch_id: int) -> Write:
    """Adds a row of the feed with this body."""
    if feed is Feed.LANDINGS:
        return lambda connection, body: land(connection, "sendgrid", "events", "a=1", body)
    return lambda connection, body: batches.record_outcome(
        connection, batch_id=batch_id, send_id=SEND, results=body
    )


def read(connection: psycopg.Connection, feed: Feed, after: Watermark, limit: int = 100) -> list[Row]:
    if feed is Feed.LANDINGS:
        return list(feeds.landings_after(connection, after, limit))
    return list(feeds.outcomes_after(connection, after, limit))


def body(row: Row) -> bytes:
    return row.body if isinstance(row, LandingRow) else row.results


def last(rows: list[Row]) -> Watermark:
    return Watermark(xact=rows[-1].xact, last_id=rows[-1].id)


def test_rows_come_in_order_from_the_watermark_on(ledger: Ledger, feed: Feed, write: Write) -> None:
    with ledger.connection() as connection:
        for number in range(5):
            write(connection, b"%d" % number)
        with connection.transaction():
            for number in range(5, 9):
                write(connection, b"%d" % number)
        seen, watermark = [], Watermark()
        while rows := read(connection, feed, watermark, limit=2):
            assert len(rows) <= 2
            seen += [body(row) for row in rows]
            watermark = last(rows)
        assert seen == [b"%d" % number for number in range(9)]
        assert feeds.waiting(connection, feed, watermark) == 0
        assert feeds.waiting(connection, feed, Watermark()) == 9


def test_a_row_that_commits_late_is_never_passed_by(ledger: Ledger, feed: Feed, write: Write) -> None:
    with ledger.connection() as slow, ledger.connection() as quick, ledger.connection() as reader:
        with slow.transaction():
            write(slow, b"slow")
            write(quick, b"quick")
            # The quick row has the greater id and is committed, but the slow one may still come before it.
            assert read(reader, feed, Watermark()) == []
            assert feeds.waiting(reader, feed, Watermark()) == 1
        assert [body(row) for row in read(reader, feed, Watermark())] == [b"slow", b"quick"]


def test_an_older_transaction_that_writes_late_is_not_passed_by_either(
    ledger: Ledger, feed: Feed, write: Write
) -> None:
    with ledger.connection() as old, ledger.connection() as quick, ledger.connection() as reader:
        with old.transaction():
            # It has its transaction id, but has written nothing to the feed yet.
            old.execute("select pg_current_xact_id()")
            write(quick, b"quick")
            assert read(reader, feed, Watermark()) == []
            write(old, b"old")
        rows = read(reader, feed, Watermark())
    assert [body(row) for row in rows] == [b"old", b"quick"]
    assert rows[0].id > rows[1].id


def test_interleaved_commits_are_all_read_once(ledger: Ledger, feed: Feed, write: Write) -> None:
    seen: list[bytes] = []
    watermark = Watermark()
    with ledger.connection() as reader:
        writers = [ledger.connect() for _ in range(3)]
        try:
            for turn in range(12):
                writer = writers[turn % 3]
                writer.execute("begin" if turn < 3 else "commit; begin")
                write(writer, b"%d" % turn)
                if rows := read(reader, feed, watermark):
                    seen += [body(row) for row in rows]
                    watermark = last(rows)
            for writer in writers:
                writer.execute("commit")
        finally:
            for writer in writers:
                writer.close()
        seen += [body(row) for row in read(reader, feed, watermark)]
    assert seen == [b"%d" % turn for turn in range(12)]


def test_a_rolled_back_row_never_was(ledger: Ledger, feed: Feed, write: Write) -> None:
    with ledger.connection() as connection:
        with connection.transaction(force_rollback=True):
            write(connection, b"undone")
        write(connection, b"done")
        assert [body(row) for row in read(connection, feed, Watermark())] == [b"done"]


def test_only_loaded_rows_of_age_are_purged(ledger: Ledger, feed: Feed, write: Write) -> None:
    column = "received_at" if feed is Feed.LANDINGS else "recorded_at"
    table = "landing" if feed is Feed.LANDINGS else "outcome"
    with ledger.connection() as connection:
        for name in (b"old", b"young", b"not loaded"):
            write(connection, name)
        rows = read(connection, feed, Watermark())
        ledger.do(
            f"update {table} set {column} = now() - interval '9 days' where {table}_id <> %s", rows[1].id
        )
        loaded = last(rows[:2])
        assert feeds.purge(connection, feed, loaded, keep_days=10) == 0
        assert feeds.purge(connection, feed, loaded, keep_days=7) == 1
        assert [body(row) for row in read(connection, feed, Watermark())] == [b"young", b"not loaded"]


def test_an_outcome_names_its_batch_and_lane(ledger: Ledger, batch_id: int) -> None:
    with ledger.connection() as connection:
        batches.record_outcome(connection, batch_id=batch_id, send_id=SEND, results=b"all")
        [row] = feeds.outcomes_after(connection, Watermark(), 10)
    assert (row.batch_id, row.send_id, row.lane, row.results) == (batch_id, SEND, EMAIL_LANE, b"all")


def test_a_landing_is_kept_as_it_came(ledger: Ledger) -> None:
    with ledger.connection() as connection:
        land(connection, "twilio", "status", "message=m&org=acme", b"\x00raw\r\n")
        [row] = feeds.landings_after(connection, Watermark(), 10)
    assert (row.provider, row.kind, row.query, row.body) == (
        "twilio",
        "status",
        "message=m&org=acme",
        b"\x00raw\r\n",
    )
