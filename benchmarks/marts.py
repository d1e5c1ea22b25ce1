"""How long all models take from 1,000,000 contacts and 20,000,000 events: whole, and after 100,000 new events.

5,000,000 messages in 50 sends of two organisations; each told to be queued and delivered, opened by a machine or a
person, clicked, or come back. The new events are opens and clicks of delivered messages: nine of ten of the
latest five sends, the rest of all others. They are in `core.events` and `core.message_status` already, which have a
benchmark of their own. Seconds are wall time in a fresh process. Promised on two cores: 60 seconds whole, 5 seconds
after the new events, less than 6 GB; standard error tells them by model, and the processors' time.
Run: python benchmarks/marts.py [events [new events]]
"""

import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from _report import peak_megabytes, report
from planning import fresh

from comms_pipeline.cli.installation import initialise
from comms_pipeline.ledger import launcher
from comms_pipeline.loader.message_status import refresh_message_status
from comms_pipeline.loader.models import rebuild, refresh
from comms_pipeline.loader.watermarks import Mark, move_marks, next_load_id
from comms_pipeline.models.registry import models
from comms_pipeline.settings import load_settings
from comms_pipeline.stores import Stores

EVENTS, NEW_EVENTS = 20_000_000, 100_000
PROMISED_SECONDS, PROMISED_NEW_SECONDS, PROMISED_MEGABYTES = 60.0, 5.0, 6_000.0
SENDS, LATEST_SENDS = 50, 5
PARTS = 10
START = datetime(2026, 1, 5, 8, tzinfo=UTC)

# Contact n gets the sends whose number it has the same remainder as; a seventh of the messages are texts.
THERE = """
insert into campaign.sends by name
select 'send-' || s as send_id, 'campaign-' || (s % 10) as campaign_id, 1 as version,
       ['club', 'shop'][s % 2 + 1] as organisation_id, 'marketing' as message_class,
       $start + to_days(s::integer) as due_at
from range($sends) numbers (s);

insert into core.contacts by name
select md5('c' || n) as contact_id, ['club', 'shop'][n % 2 + 1] as organisation_id,
       'p' || n || '@mail' || (n % 997) || '.example' as email, '+49151' || (10000000 + n) as phone,
       ['Europe/Berlin', 'America/New_York', 'Asia/Kolkata', null, 'Australia/Adelaide'][n % 5 + 1] as time_zone,
       '{}' as attributes, false as is_erased, $start - to_days((n % 300)::integer) as created_at, $start as updated_at
from range($contacts) numbers (n);

create temp table planned as
select 'send-' || s as send_id, n, md5('m' || s || '-' || n) as message_id, md5('c' || n) as contact_id,
       if(n % 7 = 0, 'sms', 'email') as channel, if(n % 7 = 0, 'sms:twilio', 'email:sendgrid') as lane,
       $start + to_days(s::integer) as due_at, (hash(s, n) % 1000)::integer as luck
from range($sends) sends (s), range($per_send) numbers (k),
     lateral (select (k * $contacts // $per_send + s) % $contacts // 2 * 2 + s % 2 as n);

insert into campaign.audiences by name
select send_id, contact_id, due_at as selected_at from planned
union all select send_id, md5('x' || contact_id) as contact_id, due_at as selected_at from planned where luck < 100;

insert into campaign.decisions by name
select send_id, contact_id, channel, 'allowed' as decision, [] as rules, due_at as decided_at from planned
union all
select send_id, md5('x' || contact_id) as contact_id, channel, 'excluded' as decision,
       [{rule_id: 'not-suppressed', version: 1, evidence: 'unsubscribed'},
        {rule_id: 'consent-recorded', version: 1, evidence: 'none'}][:1 + luck % 2] as rules, due_at as decided_at
from planned where luck < 100;

insert into campaign.messages by name
select send_id, 0 as generation, message_id, contact_id, channel, lane, ['a', 'b'][n % 2 + 1] as variant,
       luck / 1000.0 as score, if(channel = 'sms', 1 + n % 3, null) as segments, due_at, due_at as planned_at,
       if(channel = 'sms', 8300, 600) as cost_micros, 'USD' as currency,
       if(channel = 'sms', '+49', 'mail' || (n % 997) || '.example') as domain,
       ['Europe/Berlin', 'America/New_York', 'Asia/Kolkata', null, 'Australia/Adelaide'][n % 5 + 1] as time_zone
from planned;

insert into core.outcomes by name
select n as outcome_id, n // 1000 as batch_id, send_id, message_id, if(luck < 990, 'accepted', 'refused') as status,
       if(luck < 990, null, 'invalid') as reason, split_part(lane, ':', 2) as provider,
       due_at + to_seconds(60 + n % 600) as recorded_at, 1 as load_id
from planned;

insert into core.conversions by name
select md5('b' || message_id) as event_id, message_id, send_id, contact_id,
       ['club', 'shop'][n % 2 + 1] as organisation_id, channel,
       ['a', 'b'][n % 2 + 1] as variant, 'purchase' as type, due_at + to_days(2) as occurred_at,
       'clicked' as touch_kind, due_at as touched_at, 172800 as seconds_since_touch, 25000000 as value_micros,
       'EUR' as currency, 'last_touch' as model, 168 as window_hours
from planned where luck between 100 and 109;
"""
# Four events for each message that was accepted, one part of the contacts at a time: it fits into memory.
TOLD = """
insert into core.events by name
select md5(message_id || k) as event_id, message_id, send_id, contact_id, channel,
       ['club', 'shop'][n % 2 + 1] as organisation_id, split_part(lane, ':', 2) as provider,
       case when k = 0 then 'queued' when k = 1 and luck < 30 then 'bounced' when k = 1 then 'delivered'
            when luck % 5 = 4 then 'clicked' else 'opened' end as kind,
       due_at + to_seconds(61 + n % 600 + [0, 5, 600, 86400 * 2][k + 1] * (1 + luck % 7)) as occurred_at,
       occurred_at as received_at, if(k = 1 and luck < 30, '5.1.1', null) as code,
       if(luck % 3 = 0 or k < 2, 'machine', 'human') as verdict, 'message_id' as match, 1 as load_id
from planned, range(4) steps (k)
where luck < 990 and (k < 2 or luck >= 30) and n % $parts = $part
"""
NEW = """
insert into core.events by name
select md5(message_id || 'new') as event_id, m.message_id, m.send_id, m.contact_id, m.channel, n.organisation_id,
       split_part(m.lane, ':', 2) as provider, if(hash(message_id) % 4 = 0, 'clicked', 'opened') as kind,
       m.due_at + interval 5 days as occurred_at, $now as received_at, 'human' as verdict, 'message_id' as match,
       $load_id as load_id
from (
    (select * from campaign.messages where list_contains($latest, send_id) and score between 0.03 and 0.989
     order by hash(message_id) limit $count - $count // 10)
    union all
    (select * from campaign.messages where not list_contains($latest, send_id) and score between 0.03 and 0.989
     order by hash(message_id, 1) limit $count // 10)
) m
join campaign.sends n using (send_id)
"""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What computing all models took. `each`: by model, seconds and the processors' seconds."""

    seconds: float
    each: dict[str, tuple[float, float]]
    messages: int
    megabytes: float


def prepare(home: Path, events: int) -> None:
    """Make the installation and what has happened so far."""
    stores = initialise(load_settings(home))
    # A twentieth of each would be 50,000 contacts and 5,000 messages a send.
    values = {"start": START, "sends": SENDS, "contacts": events // 20, "per_send": events // 4 // SENDS}
    with stores.lake.writer() as writer:
        for statement in writer.cursor.extract_statements(THERE):
            wanted = {name: value for name, value in values.items() if name in statement.named_parameters}
            writer.cursor.execute(statement, wanted)
        for part in range(PARTS):
            writer.cursor.execute(TOLD, {"parts": PARTS, "part": part})
        writer.cursor.execute("drop table planned")
        move_marks(writer, {Mark.LOADS: 1}, START)
    refresh_message_status(stores)
    stores.lake.close()


def add_new(home: Path, new: int) -> None:
    """New events, and where their messages stand by them."""
    stores = Stores(load_settings(home))
    with stores.lake.writer() as writer:
        load_id = next_load_id(writer)
        latest = [f"send-{number}" for number in range(SENDS - LATEST_SENDS, SENDS)]
        values = {"now": stores.now(), "load_id": load_id, "latest": latest, "count": new}
        writer.cursor.execute(NEW, values)
        move_marks(writer, {Mark.LOADS: load_id}, START)
    refresh_message_status(stores)
    stores.lake.close()


def run_whole(home: Path) -> Run:
    """Compute every row of every model."""
    return _measured(home, rebuild)


def run_new(home: Path) -> Run:
    """Bring every model up to date."""
    return _measured(home, refresh)


def _measured(home: Path, compute) -> Run:  # type: ignore[no-untyped-def]
    stores = Stores(load_settings(home))
    with stores.lake.reader() as cursor:
        cursor.execute("select 1")
    each = {}
    for table in models():
        started, started_processor = time.perf_counter(), time.process_time()
        compute(stores, table)
        each[table] = time.perf_counter() - started, time.process_time() - started_processor
    with stores.lake.reader() as cursor:
        row = cursor.execute("select sum(messages)::bigint from mart.campaign_performance").fetchone()
    stores.lake.close()
    seconds = sum(wall for wall, _ in each.values())
    return Run(seconds=seconds, each=each, messages=row[0] if row else 0, megabytes=peak_megabytes())


def main(events: int, new: int) -> int:
    """Compute all models twice, print the figures; 1 if any message is missing or counted twice."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        try:
            fresh(prepare, home, events)
            whole = fresh(run_whole, home)
            fresh(add_new, home, new)
            increment = fresh(run_new, home)
        finally:
            launcher.remove(home)
    for name, run in (("whole", whole), ("new", increment)):
        for table, (seconds, processor_seconds) in run.each.items():
            print(
                f"{name:6} {table:32} {seconds:6.2f} s, processors {processor_seconds:6.2f} s",
                file=sys.stderr,
            )
        if run.messages != events // 4:
            print(f"error: {run.messages} messages for {events // 4}", file=sys.stderr)
            return 1
    report("marts_whole_seconds", whole.seconds, "s", PROMISED_SECONDS, is_more_better=False)
    report("marts_increment_seconds", increment.seconds, "s", PROMISED_NEW_SECONDS, is_more_better=False)
    megabytes = max(whole.megabytes, increment.megabytes)
    report("marts_peak_memory", megabytes, "MB", PROMISED_MEGABYTES, is_more_better=False)
    return 0


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*(given + [EVENTS, NEW_EVENTS][len(given) :])))
