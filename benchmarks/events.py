"""How fast landed webhooks become rows, and how long 1,000,000 new events take on top of 20,000,000.

Loader: SendGrid's posts of 500 events from a real Postgres into a real lake, every eighth a bounce, one in a hundred
quoting an address; beside it the same read one by one, as objects. Increment: deduplicating, matching, verdicts and
`core.message_status`, in a fresh process; one in ten of the new events was told before. Rescoring: the same number of
opens and clicks, judged anew. Seconds are wall time; the processor's are named as such. Promised: 200,000 events/s,
30 seconds, 20 seconds, and memory that does not grow with what is there.
Run: python benchmarks/events.py [events there [new events]]
"""

import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
from _report import peak_megabytes, report
from planning import fresh

from comms_pipeline.cli.installation import initialise
from comms_pipeline.lake.writer import LakeWriter
from comms_pipeline.ledger import launcher
from comms_pipeline.loader import sendgrid_rows
from comms_pipeline.loader.core_events import refresh_events
from comms_pipeline.loader.events import load_provider_events
from comms_pipeline.loader.message_status import refresh_message_status
from comms_pipeline.loader.verdicts import rescore
from comms_pipeline.loader.watermarks import Mark, move_marks, next_load_id
from comms_pipeline.providers import sendgrid_events
from comms_pipeline.providers.event_parsers import PARSERS
from comms_pipeline.settings import load_settings
from comms_pipeline.stores import Stores
from comms_pipeline.verdicts.rules_file import load_verdict_rules

EVENTS, NEW_EVENTS = 20_000_000, 1_000_000
WEBHOOKS, EVENTS_PER_WEBHOOK = 2_000, 500
WEBHOOKS_ONE_BY_ONE = 100
PROMISED_RATE, PROMISED_SECONDS, PROMISED_GROWTH_MEGABYTES = 200_000.0, 30.0, 1_000.0
PROMISED_RESCORE_SECONDS = 20.0
PART = 5_000_000
START = datetime(2026, 11, 1, tzinfo=UTC)
AGENT = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"
KINDS = ["processed", "delivered", "delivered", "delivered", "open", "open", "click", "bounce"]

MESSAGES = """
insert into campaign.messages by name
select 'offer' as send_id, 1 as generation, md5('m' || n) as message_id, md5('c' || n) as contact_id,
       'email' as channel, 'email:sendgrid' as lane, '' as variant, 0.0 as score, $start as due_at, $start as planned_at
from range($messages) numbers (n)
"""
SENDS = """
insert into campaign.sends by name
select 'offer' as send_id, 'offer' as campaign_id, 1 as version, 'club' as organisation_id,
       'marketing' as message_class, $start as due_at
"""
OUTCOMES = """
insert into core.outcomes by name
select n // 1000 as outcome_id, n // 1000 as batch_id, 'offer' as send_id, md5('m' || n) as message_id,
       'accepted' as status, 'sendgrid' as provider, 'request-' || (n // 1000) as provider_message_id,
       $start as recorded_at, 1 as load_id
from range($messages) numbers (n)
"""
# Event n is about message n of all, then again: a delivery first, then an open, then opens and clicks.
TOLD = """
insert into raw.provider_events by name
select n // 500 as landing_id, (n % 500)::integer as position, 'sendgrid' as provider,
       $start + to_seconds(n // 200) + interval 30 seconds as received_at,
       ['delivered', 'opened', 'clicked'][k] as kind, ['delivered', 'open', 'click'][k] as raw_kind,
       $start + to_seconds(n // 200) as occurred_at, 'club' as organisation_id,
       md5('m' || (n % $messages)) as message_id, 'request-' || (n % $messages // 1000) as provider_message_id,
       left(md5('e' || n), 22) as provider_event_id,
       case when k = 3 then 'https://club.example/offers/' || (n % 50) end as url,
       case when k > 1 then $agent end as user_agent, false as is_machine,
       '{}' as payload, $load_id as load_id
from (select n, case when n < $messages then 1 when n < 2 * $messages or n % 4 > 0 then 2 else 3 end as k
      from range($first, $first + $count) numbers (n))
"""
REPEATED = """
insert into raw.provider_events by name
select * replace ($load_id as load_id, provider_event_id || '-2' as provider_event_id) from raw.provider_events
where load_id < $load_id and landing_id < $count // 500
"""
# What the rules say of the opens of TOLD: people, days after the delivery.
JUDGED = """
update placed set verdict = 'human', verdict_score = 0.0, verdict_reasons = [], verdict_version = $version
where kind in ('opened', 'clicked')
"""
TO_RESCORE = """
create or replace temp table to_rescore as
select message_id from campaign.messages order by message_id limit $messages
"""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a step took."""

    events: int
    seconds: float
    processor_seconds: float
    megabytes: float


def told(chance: random.Random, number: int) -> dict[str, object]:
    """An event as SendGrid tells it."""
    kind = chance.choice(KINDS)
    event: dict[str, object] = {
        "email": f"person.{number}@mail{number % 997}.example.com",
        "timestamp": int(START.timestamp()) + number // 200,
        "smtp-id": f"<{number:016x}@geopod-ismtpd-1>",
        "event": kind,
        "category": ["batch:12", "offer"],
        "sg_event_id": f"{chance.getrandbits(128):032x}",
        "sg_message_id": f"14c5d75ce93.dfd.64b469.filter0001.{number}.5515E0B88.0",
        "comms_message": f"{chance.getrandbits(128):032x}",
        "comms_org": "club",
    }
    if kind == "delivered":
        event["response"] = "250 2.0.0 OK 1429 gsmtp"
    if kind in ("open", "click"):
        event |= {
            "useragent": AGENT,
            "ip": "203.0.113.9",
            "sg_content_type": "html",
            "sg_machine_open": False,
        }
    if kind == "click":
        event |= {"url": f"https://club.example/offers/{number % 50}?from=mail"}
        event |= {"url_offset": {"index": 0, "type": "html"}}
    if kind == "bounce":
        quoted = f"<person.{number}@x.example>" if number % 12 == 0 else "user"
        event |= {"reason": f"550 5.1.1 {quoted} unknown", "status": "5.1.1", "type": "bounce"}
    return event


def prepare(home: Path, events: int, webhooks: int) -> None:
    """Make the installation, what has been loaded before, and what has landed since."""
    stores = initialise(load_settings(home))
    chance = random.Random(1)
    statement = "copy landing (provider, kind, body) from stdin (format binary)"
    with stores.ledger() as ledger, ledger.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(["text", "text", "bytea"])
        for webhook in range(webhooks):
            numbers = range(webhook * EVENTS_PER_WEBHOOK, (webhook + 1) * EVENTS_PER_WEBHOOK)
            copy.write_row(("sendgrid", "events", orjson.dumps([told(chance, n) for n in numbers])))
    messages = max(1, events // 2)
    with stores.lake.writer() as writer:
        writer.cursor.execute(SENDS, {"start": START})
        for statement in (MESSAGES, OUTCOMES):
            writer.cursor.execute(statement, {"messages": messages, "start": START})
    for first in range(0, events, PART):
        tell(stores, messages, first, min(PART, events - first))
        refresh_events(stores, score=as_judged)
    refresh_message_status(stores)
    stores.lake.close()


def as_judged(writer: LakeWriter, _load_id: int) -> None:
    """Give what was there before its verdicts without judging it."""
    writer.cursor.execute(JUDGED, {"version": load_verdict_rules().version})


def tell(stores: Stores, messages: int, first: int, count: int, repeated: int = 0) -> None:
    """Add events to the raw ones, as a load does."""
    with stores.lake.writer() as writer:
        load_id = next_load_id(writer)
        if repeated:
            writer.cursor.execute(REPEATED, {"load_id": load_id, "count": repeated})
        values = {"messages": messages, "first": first, "count": count, "start": START, "load_id": load_id}
        writer.cursor.execute(TOLD, values | {"agent": AGENT})
        move_marks(writer, {Mark.LOADS: load_id}, START)


def add_new(home: Path, events: int, new: int) -> None:
    """What the increment has to work in: one in ten was told before."""
    stores = Stores(load_settings(home))
    tell(stores, max(1, events // 2), events, new - new // 10, new // 10)
    stores.lake.close()


def run_loader(home: Path) -> Run:
    """Drain the landing."""
    return _measured(home, lambda stores: load_provider_events(stores).events)


def run_loader_one_by_one(home: Path) -> Run:
    """Drain the landing with a parser that is not the one the reading as columns stands for."""
    parsers = {**PARSERS, sendgrid_rows.KEY: lambda _, body: sendgrid_events.parse(body)}
    return _measured(home, lambda stores: load_provider_events(stores, parsers).events)


def run_rescore(home: Path, events: int) -> Run:
    """Judge again what happened to so many messages, by rules of another version: each had an open or two."""
    rules = load_verdict_rules()

    def work(stores: Stores) -> int:
        with stores.lake.writer() as writer:
            writer.cursor.execute(TO_RESCORE, {"messages": events})
            return rescore(writer.cursor, "to_rescore", rules=replace(rules, version=rules.version + 1))

    return _measured(home, work)


def run_increment(home: Path) -> Run:
    """Work in what is new."""

    def work(stores: Stores) -> int:
        added = refresh_events(stores)
        refresh_message_status(stores)
        return added

    return _measured(home, work)


def _measured(home: Path, work) -> Run:  # type: ignore[no-untyped-def]
    stores = Stores(load_settings(home))
    with stores.lake.reader() as cursor:
        cursor.execute("select 1")
    started, started_processor = time.perf_counter(), time.process_time()
    events = work(stores)
    run = Run(
        events=events,
        seconds=time.perf_counter() - started,
        processor_seconds=time.process_time() - started_processor,
        megabytes=peak_megabytes(),
    )
    stores.lake.close()
    return run


def main(events: int, new: int) -> int:
    """Load and work in, print the figures; 1 if any event is lost or counted twice."""
    small = measured_home(events // 10, new, WEBHOOKS_ONE_BY_ONE, run_loader_one_by_one)
    large = measured_home(events, new, WEBHOOKS, run_loader)
    wrong = [
        f"{found} events instead of {expected}"
        for found, expected in (
            (small["increment"].events, new - new // 10),
            (large["increment"].events, new - new // 10),
            (small["load"].events, WEBHOOKS_ONE_BY_ONE * EVENTS_PER_WEBHOOK),
            (large["load"].events, WEBHOOKS * EVENTS_PER_WEBHOOK),
        )
        if found != expected
    ]
    if wrong:
        print(f"error: {'; '.join(wrong)}", file=sys.stderr)
        return 1
    load, one_by_one, increment, again = large["load"], small["load"], large["increment"], large["rescore"]
    report("events_loader_rate", load.events / load.seconds, "events/s", PROMISED_RATE)
    report("events_loader_rate_per_core", load.events / load.processor_seconds, "events/s", PROMISED_RATE)
    report("events_loader_rate_one_by_one", one_by_one.events / one_by_one.seconds, "events/s", PROMISED_RATE)
    report("events_loader_peak_memory", load.megabytes, "MB", PROMISED_GROWTH_MEGABYTES, is_more_better=False)
    for name, run, seconds in (
        ("increment", increment, PROMISED_SECONDS * new / NEW_EVENTS),
        ("rescore", again, PROMISED_RESCORE_SECONDS * again.events / NEW_EVENTS),
    ):
        report(f"events_{name}_seconds", run.seconds, "s", seconds, is_more_better=False)
        report(f"events_{name}_processor_seconds", run.processor_seconds, "s", seconds, is_more_better=False)
    promised = small["increment"].megabytes + PROMISED_GROWTH_MEGABYTES
    report("events_increment_peak_memory", increment.megabytes, "MB", promised, is_more_better=False)
    return 0


def measured_home(events: int, new: int, webhooks: int, loader: Callable[[Path], Run]) -> dict[str, Run]:
    """What each step took in an installation that holds so many events already."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        try:
            fresh(prepare, home, events, webhooks)
            fresh(add_new, home, events, new)
            runs = {"increment": fresh(run_increment, home), "load": fresh(loader, home)}
            runs["rescore"] = fresh(run_rescore, home, min(new, events // 2))
        finally:
            launcher.remove(home)
    print(f"{events:,} there: {runs}", file=sys.stderr)
    return runs


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*(given + [EVENTS, NEW_EVENTS][len(given) :])))
