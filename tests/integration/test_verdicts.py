"""Verdicts in the lake: judged anew when more becomes known, only what changes written, the same whichever way."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from comms_pipeline.lake.writer import LakeWriter
from comms_pipeline.loader import verdicts as loader
from comms_pipeline.loader.message_status import refresh_message_status
from comms_pipeline.loader.verdicts import (
    judge_changes,
    judge_placed,
    outdated_days,
    rescore,
    rescore_day,
    rescore_outdated,
)
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores
from comms_pipeline.verdicts.rules_file import load_verdict_rules

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/142.0.0.0 Safari/537.36"
VERDICTS = "select event_id, verdict, verdict_score, verdict_reasons from core.events order by event_id"
UNTOUCHED = ("unknown", None, None)


@pytest.fixture
def lake(shared_stores: Stores) -> Iterator[Stores]:
    """The lake without any event."""
    with shared_stores.lake.writer() as writer:
        writer.cursor.execute("delete from core.events")
        writer.cursor.execute("delete from core.message_status")
        # As in a lake whose statuses were never computed: those who did it before are not our business.
        writer.cursor.execute("delete from raw.watermarks where feed like 'message_status%'")
    yield shared_stores
    with shared_stores.lake.writer() as writer:
        writer.cursor.execute("delete from core.events")


def event(
    event_id: str, kind: str, seconds: float, message_id: str | None = "m", **told: Any
) -> dict[str, Any]:
    """An event as the loader adds it: judged by nobody."""
    at = NOON + timedelta(seconds=seconds)
    plain = {
        "event_id": event_id,
        "message_id": message_id,
        "contact_id": f"of-{message_id}",
        "provider": "sendgrid",
        "kind": kind,
        "occurred_at": at,
        "received_at": at + timedelta(seconds=1),
        "user_agent": CHROME,
        "verdict": "unknown",
        "load_id": 1,
    }
    return plain | told


def click(event_id: str, seconds: float, message_id: str = "m", **told: Any) -> dict[str, Any]:
    return event(event_id, "clicked", seconds, message_id, **{"url": event_id} | told)


def add(stores: Stores, *events: dict[str, Any]) -> tuple[int, list[str]]:
    """Add events and judge what they touch; how many rows changed, and the messages touched then."""
    with stores.lake.writer() as writer:
        frame = pl.DataFrame(list(events), infer_schema_length=None)
        writer.append("core.events", frame)
        writer.cursor.register("added", frame.select("message_id").to_arrow())
        writer.cursor.execute("create or replace temp table touched as select distinct message_id from added")
        writer.cursor.unregister("added")
        changed = rescore(writer.cursor, "touched")
        touched = writer.cursor.execute("select message_id from touched order by 1").fetchall()
    return changed, [row[0] for row in touched]


def place(writer: LakeWriter, *events: dict[str, Any]) -> None:
    """Make the tables of what is about to be written."""
    frame = pl.DataFrame(list(events), infer_schema_length=None)
    writer.cursor.execute(
        "create or replace temp table placed as select *, false as is_known from core.events limit 0"
    )
    writer.cursor.register("coming", frame.with_columns(is_known=False).to_arrow())
    writer.cursor.execute("insert into placed by name from coming")
    writer.cursor.execute(
        "create or replace temp table placed_messages as select distinct message_id from placed"
    )
    writer.cursor.unregister("coming")


def rows(stores: Stores, query: str = VERDICTS) -> list[tuple[Any, ...]]:
    with stores.lake.reader() as cursor:
        return cursor.execute(query).fetchall()


def verdicts(stores: Stores) -> dict[str, str]:
    return {row[0]: row[1] for row in rows(stores)}


def test_opens_and_clicks_are_judged_and_nothing_else_is_touched(lake):
    added = [
        event("a", "delivered", 0),
        event("b", "opened", 1, is_told_machine=True),
        event("c", "opened", 600),
        click("d", 601),
    ]
    assert add(lake, *added) == (3, ["m"])
    assert rows(lake) == [
        ("a", *UNTOUCHED),
        ("b", "machine", 0.9875, ["told-machine", "open-on-delivery"]),
        ("c", "human", 0.0, []),
        ("d", "human", 0.0, []),
    ]
    assert rows(lake, "select distinct verdict_version from core.events order by 1") == [(2,), (None,)]


def test_judging_again_changes_nothing(lake):
    add(lake, event("a", "opened", 60), click("b", 90))
    assert add(lake, event("c", "delivered", 0)) == (0, ["m"])


def test_a_burst_shows_with_its_third_click_and_changes_the_first_two(lake):
    add(lake, event("o", "opened", 60), click("a", 100), click("b", 101))
    assert verdicts(lake) == {"o": "human", "a": "human", "b": "human"}
    assert add(lake, click("c", 101.5)) == (3, ["m"])
    assert verdicts(lake) == {"o": "human", "a": "machine", "b": "machine", "c": "machine"}


def test_a_delivery_told_late_changes_what_happened_after_it(lake):
    add(lake, event("o", "opened", 60), click("a", 3))
    assert verdicts(lake)["a"] == "human"
    assert add(lake, event("d", "delivered", 0)) == (1, ["m"])
    assert verdicts(lake)["a"] == "machine"


def test_one_client_of_many_recipients_is_evidence_against_messages_nobody_touched(lake):
    told = [
        each
        for number in range(9)
        for each in (
            event(f"o{number}", "opened", 10, f"m{number}"),
            click(f"c{number}", 1000 + number, f"m{number}", ip_key="k"),
        )
    ]
    add(lake, *told, click("far", 2000, "m-far", ip_key="k"), click("other", 1000, "m-other", ip_key="j"))
    assert set(verdicts(lake).values()) == {"human"}

    changed, touched = add(lake, event("o9", "opened", 10, "m9"), click("c9", 1050, "m9", ip_key="k"))
    assert (changed, touched) == (11, [f"m{number}" for number in range(10)])
    found = verdicts(lake)
    assert {found[f"c{number}"] for number in range(10)} == {"unknown"}
    assert (found["far"], found["other"]) == ("human", "human")


def history() -> list[dict[str, Any]]:
    """What happened to forty messages: people, scanners, one client for many."""
    told: list[dict[str, Any]] = []
    for number in range(40):
        message = f"m{number:02}"
        told.append(event(f"{message}-d", "delivered", number, message))
        told.append(event(f"{message}-o", "opened", number + 1.5 + number % 3 * 100, message, ip_key="p"))
        urls = 4 if number % 5 == 0 else 1
        told += [
            click(
                f"{message}-c{link}", number + 300 + link * 0.5, message, ip_key="k" if number % 2 else None
            )
            for link in range(urls)
        ]
        if number % 7 == 0:
            told.append(event(f"{message}-t", "trap", number + 301, message))
    return told


@pytest.mark.parametrize("parts", [1, 3])
def test_in_whatever_order_and_parts_events_come_the_verdicts_are_the_same(lake, parts, monkeypatch):
    told = history()
    add(lake, *told)
    at_once = rows(lake)
    assert {row[1] for row in at_once} == {"human", "machine", "unknown"}
    with lake.lake.writer() as writer:
        writer.cursor.execute("delete from core.events")

    monkeypatch.setattr(loader, "_EVENTS_AT_ONCE", 50)
    for part in range(parts):
        add(lake, *told[::-1][part::parts])
    assert rows(lake) == at_once


def test_events_can_be_judged_before_they_are_inserted(lake):
    add(lake, event("o", "opened", 60), click("a", 100), click("b", 101))
    with lake.lake.writer() as writer:
        frame = pl.DataFrame([click("c", 101.5)], infer_schema_length=None)
        writer.cursor.register("fresh", frame.to_arrow())
        writer.cursor.execute(
            "create or replace temp view coming as select * from core.events union all by name select * from fresh"
        )
        changed = judge_changes(writer.cursor, "fresh", events="coming")
        found = writer.cursor.execute(f"select event_id, verdict from {changed} order by 1").fetchall()
    assert found == [("a", "machine"), ("b", "machine"), ("c", "machine")]
    assert verdicts(lake) == {"o": "human", "a": "human", "b": "human"}


def test_a_loads_verdicts_carry_its_number_beside_it_too(lake):
    add(lake, event("o", "opened", 60), click("a", 100), click("b", 101), click("x", 100, "other"))
    with lake.lake.writer() as writer:
        place(writer, click("c", 101.5, load_id=2))
        judge_placed(writer, 2)
        found = writer.cursor.execute("select event_id, verdict from placed").fetchall()
        writer.cursor.execute("drop table placed; drop table placed_messages")
    assert found == [("c", "machine")]
    assert rows(lake, "select event_id, verdict, load_id from core.events order by 1") == [
        ("a", "machine", 2),
        ("b", "machine", 2),
        ("o", "human", 1),
        ("x", "human", 1),
    ]


def test_other_rules_are_noticed_by_day_and_judged_anew(lake, monkeypatch):
    add(lake, event("o", "opened", 60), click("a", 3), event("d", "delivered", 0))
    add(lake, event("p", "opened", 86_400, "later"))
    assert outdated_days(lake) == []

    rules = load_verdict_rules()
    lenient = tuple(rule for rule in rules.rules if rule.id != "click-on-delivery")
    monkeypatch.setattr(loader, "load_verdict_rules", lambda: replace(rules, version=3, rules=lenient))
    assert outdated_days(lake) == [date(2026, 12, 1), date(2026, 12, 2)]
    assert rescore_day(lake, date(2026, 12, 1)) == 2
    assert rows(lake, "select verdict, verdict_version from core.events where event_id = 'a'") == [
        ("human", 3)
    ]
    assert outdated_days(lake) == [date(2026, 12, 2)]

    assert rescore_outdated(lake) == 1
    assert (rescore_outdated(lake), outdated_days(lake)) == (0, [])


def test_a_days_new_verdicts_reach_the_status_of_its_messages(lake, monkeypatch):
    counted = """select opens, human_opens, first_human_opened_at is not null from core.message_status
                 where message_id = 'm'"""
    add(lake, event("o", "opened", 1, load_id=None), event("d", "delivered", 0, load_id=None))
    refresh_message_status(lake)
    assert rows(lake, counted) == [(1, 0, False)]

    rules = load_verdict_rules()
    trusting = replace(rules, version=3, rules=rules.rules[:1])
    monkeypatch.setattr(loader, "load_verdict_rules", lambda: trusting)
    rescore_day(lake, date(2026, 12, 1))
    refresh_message_status(lake)
    assert rows(lake, counted) == [(1, 1, True)]


def test_reports_see_both_totals_and_the_reasons(lake):
    add(lake, event("a", "opened", 60, is_told_machine=True), event("b", "opened", 90), click("c", 100))
    sql = named_queries("lake/queries/verdicts.sql")
    assert rows(lake, sql["verdicts_by_kind"]) == [
        ("clicked", "human", 1, 1, 0.0),
        ("opened", "human", 1, 1, 0.0),
        ("opened", "machine", 1, 1, 0.95),
    ]
    assert rows(lake, sql["reasons_by_rule"]) == [("opened", "told-machine", 1)]
