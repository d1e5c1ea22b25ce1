"""Finding a segment's contacts among 1,000,000 of whom 5,000,000 messages are on record, on a real Postgres and lake.

Four segments of about 15 %: scores alone; opens within a window; opens, score and an attribute; who never clicked.
Each is compiled and materialised (contact ids in a data frame) or counted, warm, in one process, best of five; scores
know of every message, as they do after each load. The baseline is
measured in the same run: the same rows and columns fetched and filtered in Polars. Promised: a segment in a second,
300 ms as the goal; a count in 100 ms.
Run: python benchmarks/segments.py [contacts]
"""

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
from _report import report
from pydantic import TypeAdapter

from comms_pipeline.cli.installation import initialise
from comms_pipeline.domain.segment import Audience
from comms_pipeline.ledger import launcher
from comms_pipeline.loader.models import rebuild
from comms_pipeline.loader.watermarks import Mark, move_marks
from comms_pipeline.planning.audience import ask, compiled
from comms_pipeline.planning.segments import QUERIES
from comms_pipeline.settings import load_settings
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

CONTACTS, MESSAGES_EACH = 1_000_000, 5
PROMISED_COUNT_MS, PROMISED_MS = 100.0, 1_000.0
REPETITIONS = 5
NOW = datetime(2026, 12, 1, tzinfo=UTC)
AUDIENCE: TypeAdapter[Audience] = TypeAdapter(Audience)

_CONTACTS = """
insert into core.contacts by name
select md5(i::varchar) as contact_id, 'club' as organisation_id,
       'person.' || i || '@mail' || i % 997 || '.example.com' as email, 'Person ' || i as name,
       ['en', 'de', 'fr'][1 + i % 3] as language,
       json_object('town', ['Portland', 'Bath', 'Rome'][1 + (hash(i) % 3)::integer], 'visits', i % 100,
                   'tags', ['vip', 'local'][1 + i % 2 : 2], 'company', 'Acme ' || i % 1000) as attributes,
       i % 1000 = 0 as is_erased, $now::timestamptz as created_at, $now::timestamptz as updated_at
from range($contacts) t(i)
"""
_MESSAGES = """
insert into core.message_status by name
with drawn as (
    select i, hash(i) as who, hash(i + 1e9::bigint) % 100 as luck, i % $contacts * 50 // $contacts as send,
           $now::timestamptz - to_seconds(180 * 86400 * (1 - i / ($contacts * $each))) as sent_at
    from range($contacts * $each) t(i)
)
select md5('message ' || i) as message_id, 'send-' || send as send_id,
       md5((who % $contacts)::varchar) as contact_id, if(who % 5 = 0, 'sms', 'email') as channel,
       'club' as organisation_id, 'delivered' as status, 30::tinyint as status_rank, sent_at as accepted_at, sent_at,
       if(luck < 95, sent_at, null) as delivered_at, if(luck >= 97, sent_at, null) as bounced_at,
       if(luck < 30, sent_at + interval 5 minute, null) as first_opened_at,
       if(luck < 15, sent_at + interval 1 hour, null) as first_human_opened_at,
       if(luck < 4, sent_at + interval 1 hour, null) as first_clicked_at,
       if(luck < 3, sent_at + interval 1 hour, null) as first_human_clicked_at,
       (luck < 30)::bigint as opens, (luck < 15)::bigint as human_opens, (luck < 4)::bigint as clicks,
       (luck < 3)::bigint as human_clicks, sent_at as last_event_at, $now::timestamptz as updated_at, 1 as load_id
from drawn
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A segment, and the same in Polars over everything fetched."""

    name: str
    definition: dict[str, Any]
    naively: Callable[[duckdb.DuckDBPyConnection], pl.DataFrame]


def _contacts(cursor: duckdb.DuckDBPyConnection, *columns: str) -> pl.DataFrame:
    names = ", ".join(["contact_id", "organisation_id", "is_erased", *columns])
    found = cursor.execute(f"select {names} from core.contacts").pl()
    return found.filter((pl.col("organisation_id") == "club") & ~pl.col("is_erased"))


def _messages(cursor: duckdb.DuckDBPyConnection, moment: str) -> pl.DataFrame:
    return cursor.execute(f"select contact_id, channel, {moment} as moment from core.message_status").pl()


def _scores(cursor: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    names = "contact_id, engagement_score, churn_risk, audience_type"
    return cursor.execute(f"select {names} from core.contact_scores").pl()


def _by_scores(cursor: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    chosen = _scores(cursor).filter(
        (pl.col("audience_type") == "warm") & pl.col("churn_risk").is_between(0, 0.15)
    )
    return _contacts(cursor).join(chosen, on="contact_id", how="semi")


def _opened(cursor: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    rows = _messages(cursor, "first_human_opened_at")
    chosen = rows.filter((pl.col("moment") >= NOW - timedelta(days=45)) & (pl.col("channel") == "email"))
    return _contacts(cursor).join(chosen, on="contact_id", how="semi")


def _mixed(cursor: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    rows = _messages(cursor, "first_human_opened_at").drop_nulls("moment")
    engaged = _scores(cursor).filter(pl.col("engagement_score").is_between(0.05, 1))
    town = pl.col("attributes").str.json_path_match("$.town") == "Portland"
    return (
        _contacts(cursor, "attributes")
        .filter(town)
        .join(rows, on="contact_id", how="semi")
        .join(engaged, on="contact_id", how="semi")
    )


def _silent(cursor: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    opened = _messages(cursor, "first_human_opened_at").drop_nulls("moment")
    got = _messages(cursor, "delivered_at").drop_nulls("moment").group_by("contact_id").len()
    chosen = _contacts(cursor).join(opened, on="contact_id", how="anti")
    return chosen.join(got.filter(pl.col("len") >= 6), on="contact_id", how="semi")


CASES = [
    Case(
        name="scores",
        definition={"all": [{"audience_type": "warm"}, {"score": "churn_risk", "between": [0, 0.15]}]},
        naively=_by_scores,
    ),
    Case(
        name="opened",
        definition={"event": "opened", "within_days": 45, "channel": "email"},
        naively=_opened,
    ),
    Case(
        name="mixed",
        definition={
            "all": [
                {"field": "town", "op": "eq", "value": "Portland"},
                {"event": "opened"},
                {"score": "engagement_score", "between": [0.05, 1]},
            ]
        },
        naively=_mixed,
    ),
    Case(
        name="silent",
        definition={
            "all": [
                {"event": "delivered", "count": {"at_least": 6}},
                {"event": "opened", "count": {"exactly": 0}},
            ]
        },
        naively=_silent,
    ),
]


def milliseconds(work: Callable[[], object], repetitions: int = REPETITIONS) -> float:
    """Wall time of the best of some runs, after one that warms up."""
    work()
    times = []
    for _ in range(repetitions):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times) * 1_000


def prepare(stores: Stores, contacts: int) -> None:
    """Make the contacts and what they did."""
    with stores.lake.writer() as writer:
        writer.cursor.execute(_CONTACTS, {"contacts": contacts, "now": NOW})
        writer.cursor.execute(_MESSAGES, {"contacts": contacts, "each": MESSAGES_EACH, "now": NOW})
        move_marks(writer, {Mark.LOADS: 1}, NOW)
    rebuild(stores, "core.contact_scores")


def measure(stores: Stores, cursor: duckdb.DuckDBPyConnection, case: Case, contacts: int) -> bool:
    """Print the figures of a segment; False when ours and the baseline find others."""
    definition, counted = AUDIENCE.validate_python(case.definition), named_queries(QUERIES)["count"]

    def answer(statement: str = "{audience}") -> pl.DataFrame:
        return ask(cursor, stores, compiled(cursor, stores, "club", definition, {}), statement)

    found, naive, count = answer(), case.naively(cursor), answer(counted).item()
    print(f"{case.name}: {count:,} of {contacts:,} contacts", file=sys.stderr)
    if not (set(found["contact_id"]) == set(naive["contact_id"]) and count == found.height == naive.height):
        print(f"error: {case.name}: {found.height}, {count} and {naive.height}", file=sys.stderr)
        return False
    baseline = milliseconds(lambda: case.naively(cursor), 1)
    whole = milliseconds(answer)
    only_count = milliseconds(lambda: answer(counted))
    report(f"segment_{case.name}", whole, "ms", baseline, is_more_better=False)
    report(f"segment_{case.name}_vs_promise", whole, "ms", PROMISED_MS, is_more_better=False)
    report(f"segment_{case.name}_count", only_count, "ms", PROMISED_COUNT_MS, is_more_better=False)
    return True


def main(contacts: int) -> int:
    """Make an installation, measure every segment; 1 if one finds others than the baseline."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        try:
            stores = replace(initialise(load_settings(home)), now=lambda: NOW)
            prepare(stores, contacts)
            with stores.lake.reader() as cursor:
                are_right = [measure(stores, cursor, case, contacts) for case in CASES]
            stores.lake.close()
        finally:
            launcher.remove(home)
    return 0 if all(are_right) else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else CONTACTS))
