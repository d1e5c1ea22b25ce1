"""The loader follows the ledger: what lands is a status, and trouble is waited out."""

import json
from threading import Event

import psycopg
import pytest

from comms_pipeline.ledger.landing import land
from comms_pipeline.loader import following
from comms_pipeline.loader.following import follow, is_waiting, read_marks
from comms_pipeline.stores import Stores

MESSAGE = "0123456789abcdef" * 2


def land_delivery(stores: Stores) -> None:
    event = {"event": "delivered", "timestamp": 1_764_590_000, "comms_message": MESSAGE, "sg_event_id": "e"}
    with stores.ledger() as ledger:
        land(ledger, provider="sendgrid", kind="events", query="", body=json.dumps([event]).encode())
    with stores.lake.writer() as writer:
        writer.cursor.execute(
            "insert into campaign.messages by name select 'offer' as send_id, 1 as generation, $m as message_id, "
            "'c' as contact_id, 'email' as channel, 'email:sendgrid' as lane, '' as variant, 0.0 as score, "
            "now() as due_at, now() as planned_at",
            {"m": MESSAGE},
        )


def statuses(stores: Stores) -> list[tuple[str, str]]:
    with stores.lake.reader() as cursor:
        return cursor.execute("select message_id, status from core.message_status").fetchall()


def test_what_lands_becomes_a_status_and_is_waited_for_no_more(stores: Stores) -> None:
    land_delivery(stores)
    assert is_waiting(stores, read_marks(stores))
    stopped = Event()
    worked: list[list[tuple[str, str]]] = []

    def work(given: Stores) -> None:
        following.catch_up(given)
        worked.append(statuses(given))
        stopped.set()

    follow(stores, stopped, work=work, pause=0)
    assert worked == [[(MESSAGE, "delivered")]]
    assert not is_waiting(stores, read_marks(stores))


def test_nothing_is_done_while_nothing_lands(stores: Stores) -> None:
    worked: list[Stores] = []
    rounds: list[int] = []

    class Stopping(Event):
        def wait(self, timeout: float | None = None) -> bool:
            rounds.append(len(worked))
            if len(rounds) == 3:
                self.set()
            return self.is_set()

    follow(stores, Stopping(), work=worked.append, pause=0)
    assert rounds == [1, 1, 1]


def test_a_database_that_is_away_is_waited_for(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(following, "_PAUSE_AFTER_TROUBLE_SECONDS", 0)
    stopped = Event()
    tries: list[Stores] = []

    def work(given: Stores) -> None:
        tries.append(given)
        if len(tries) == 1:
            raise psycopg.OperationalError("connection of p@people.example refused")
        stopped.set()

    follow(stores, stopped, work=work, pause=0)
    assert len(tries) == 2
    assert caplog.messages == ["the loader could not go on: OperationalError"]
