"""A lake filled by hand or by chance, for the tests of marts: what happened is kept beside it."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from comms_pipeline.lake.writer import LakeWriter
from comms_pipeline.loader.message_status import refresh_message_status
from comms_pipeline.loader.models import refresh
from comms_pipeline.loader.watermarks import Mark, move_marks, next_load_id
from comms_pipeline.models.registry import models
from comms_pipeline.models.sql import reads
from comms_pipeline.planning.stages import note_planned
from comms_pipeline.stores import Stores

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
OWN = (
    *("core.message_counts", "core.send_audience", "mart.campaign_performance"),
    *("mart.channel_day", "mart.send_funnel", "mart.deliverability", "mart.bounces", "mart.exclusions"),
    *("mart.costs", "mart.send_time_heatmap", "mart.personalization_impact", "mart.list_growth"),
    *("mart.provider_health", "mart.queue_health"),
)
SOURCES = (
    *("core.contacts", "campaign.sends", "campaign.audiences", "campaign.decisions", "campaign.messages"),
    *("core.outcomes", "core.events", "core.message_status", "core.conversions", "raw.watermarks"),
    "raw.model_marks",
)
ZONES = ["Europe/Berlin", "Asia/Kolkata", "America/St_Johns", None, "Nowhere/Else"]
RULES = ["not-suppressed", "consent-recorded", "tcpa-hours"]
STATES = ["accepted", "refused", "deferred", "cancelled", "unknown", "waiting"]


def _placed(writer: LakeWriter, messages: pl.DataFrame) -> pl.DataFrame:
    """Messages with where they go, as a plan writes it."""
    places = writer.cursor.execute(
        "select contact_id, time_zone, email_domain, calling_code "
        "from core.contacts left join core.contact_domains using (contact_id)"
    ).pl()
    domain = pl.when(channel="email").then("email_domain").otherwise("calling_code").alias("domain")
    return (
        messages.join(places, on="contact_id", how="left")
        .with_columns(domain)
        .drop("email_domain", "calling_code")
    )


def at(minute: int) -> datetime:
    return NOON + timedelta(minutes=minute)


class World:
    """What happened, kept beside the lake; `tell` puts what is new into the lake as loaders do."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.rows: dict[str, list[dict[str, Any]]] = {table: [] for table in SOURCES}
        self._told = dict.fromkeys(SOURCES, 0)
        with stores.lake.writer() as writer:
            for table in (*SOURCES, *(table for table in OWN)):
                writer.cursor.execute(f"delete from {table}")

    def tell(self) -> None:
        """Load what was added since."""
        with self.stores.lake.writer() as writer:
            load_id = next_load_id(writer)
            for table, rows in self.rows.items():
                self._append(writer, table, rows[self._told[table] :], load_id)
                self._told[table] = len(rows)
            move_marks(writer, {Mark.LOADS: load_id}, NOON)
        refresh_message_status(self.stores)

    def _append(self, writer: LakeWriter, table: str, rows: list[dict[str, Any]], load_id: int) -> None:
        if not rows:
            return
        frame = pl.DataFrame(rows, infer_schema_length=None)
        if table in ("core.events", "core.outcomes"):
            frame = frame.with_columns(load_id=pl.lit(load_id, pl.Int64))
        if table == "campaign.messages":
            frame = _placed(writer, frame)
        writer.append(table, frame)
        if table == "campaign.messages":
            for send_id in frame["send_id"].unique():
                note_planned(writer.cursor, send_id, NOON)

    def add(self, table: str, **values: Any) -> None:
        self.rows[table].append(values)

    def contact(self, name: str, **values: Any) -> None:
        organisation = values.pop("organisation_id", "club")
        defaults = {"email": f"{name}@mail.example", "phone": "+491511234567", "time_zone": "Europe/Berlin"}
        times = {"is_erased": False, "created_at": at(-10_000), "updated_at": at(-10_000)}
        self.add(
            "core.contacts",
            **{"contact_id": name, "organisation_id": organisation, "attributes": "{}"}
            | defaults
            | times
            | values,
        )

    def send(self, send_id: str, organisation_id: str = "club", campaign_id: str = "spring") -> None:
        self.add(
            "campaign.sends",
            send_id=send_id,
            campaign_id=campaign_id,
            version=1,
            organisation_id=organisation_id,
            message_class="marketing",
            due_at=NOON,
        )

    def message(self, message_id: str, send_id: str, contact_id: str, **values: Any) -> None:
        self.add("campaign.audiences", send_id=send_id, contact_id=contact_id, selected_at=NOON)
        defaults = {"channel": "email", "lane": "email:sendgrid", "variant": "", "score": 0.5}
        costs = {"segments": None, "cost_micros": None, "currency": None, "due_at": NOON, "planned_at": NOON}
        self.add(
            "campaign.messages",
            **{"send_id": send_id, "generation": 0, "message_id": message_id, "contact_id": contact_id}
            | defaults
            | costs
            | values,
        )

    def outcome(self, message_id: str, status: str, minute: int = 0, **values: Any) -> None:
        send_id = next(m["send_id"] for m in self.rows["campaign.messages"] if m["message_id"] == message_id)
        number = len(self.rows["core.outcomes"])
        self.add(
            "core.outcomes",
            **{"outcome_id": number, "batch_id": 1, "send_id": send_id, "message_id": message_id}
            | {"status": status, "reason": None, "provider": "sendgrid", "recorded_at": at(minute)}
            | values,
        )

    def event(self, message_id: str, kind: str, minute: int, verdict: str = "human", **values: Any) -> None:
        number = len(self.rows["core.events"])
        self.add(
            "core.events",
            **{"event_id": f"e{number}", "message_id": message_id, "provider": "sendgrid", "kind": kind}
            | {"occurred_at": at(minute), "received_at": at(minute), "verdict": verdict, "code": None}
            | {"reason": None, "match": "message_id"}
            | values,
        )

    def conversion(self, message_id: str, value_micros: int | None, currency: str | None) -> None:
        [message] = [m for m in self.rows["campaign.messages"] if m["message_id"] == message_id]
        self.add(
            "core.conversions",
            event_id=f"b{len(self.rows['core.conversions'])}",
            message_id=message_id,
            send_id=message["send_id"],
            contact_id=message["contact_id"],
            organisation_id="club",
            channel=message["channel"],
            variant=message["variant"],
            type="purchase",
            occurred_at=NOON,
            touch_kind="clicked",
            touched_at=NOON,
            seconds_since_touch=0,
            value_micros=value_micros,
            currency=currency,
            model="last_touch",
            window_hours=168,
        )

    def decide(self, send_id: str, contact_id: str, channel: str, rules: dict[str, str]) -> None:
        spoken = [{"rule_id": rule, "version": 1, "evidence": said} for rule, said in rules.items()]
        self.add(
            "campaign.decisions",
            send_id=send_id,
            contact_id=contact_id,
            channel=channel,
            decision="excluded" if rules else "allowed",
            rules=pl.Series(
                spoken,
                dtype=pl.Struct({"rule_id": pl.String, "version": pl.Int32, "evidence": pl.String}),
            ).to_list(),
            decided_at=NOON,
        )

    def bring_up_to_date(self, *wanted: str, compute: Any = refresh) -> None:
        """Compute these tables and the models they are made of; none given: every one of ours."""
        needed = set(wanted or OWN)
        for table in reversed(models()):
            if table in needed:
                needed |= reads(models()[table])
        for table in models():
            if table in needed:
                compute(self.stores, table)

    def found(self, table: str, columns: str = "*") -> pl.DataFrame:
        with self.stores.lake.reader() as cursor:
            return cursor.execute(f"select {columns} from {table} order by all").pl()

    def row(self, table: str, columns: str) -> tuple[Any, ...]:
        [row] = self.found(table, columns).rows()
        return row


KINDS = [
    *("queued", "sent", "deferred", "delivered", "delivered", "rejected", "failed", "bounced", "opened"),
    *("opened", "clicked", "unsubscribed", "complained"),
]


def happen(world: World, chance: random.Random, *, messages: int) -> None:
    """Random history: new contacts and messages, outcomes, events of old and new ones, conversions."""
    known = len(world.rows["campaign.messages"])
    if not world.rows["campaign.sends"]:
        for number in range(4):
            world.send(f"s{number}", ["club", "shop"][number % 2], f"campaign{number % 3}")
    for number in range(known, known + messages):
        send = chance.choice(world.rows["campaign.sends"])
        channel = chance.choice(["email", "email", "sms"])
        name = f"c{number}"
        world.contact(
            name,
            organisation_id=send["organisation_id"],
            email=f"{name}@d{chance.randrange(4)}.example",
            phone=f"+{chance.choice([49, 1, 353])}1511234567",
            time_zone=chance.choice(ZONES),
            created_at=at(-chance.randrange(10_000)),
        )
        priced = chance.random() < 0.8
        segments = chance.randrange(1, 4) if channel == "sms" else None
        world.message(
            f"m{number}",
            send["send_id"],
            name,
            channel=channel,
            lane={"email": "email:sendgrid", "sms": "sms:twilio"}[channel],
            variant=chance.choice("ab"),
            score=chance.choice([0.0, 0.2, 0.39, 0.4, 0.6, 0.99, 1.0]),
            segments=segments,
            cost_micros=600 * (segments or 1) if priced else None,
            currency="USD" if priced else None,
            due_at=at(chance.randrange(3_000)),
        )
        rules = chance.sample(RULES, chance.randrange(4))
        world.decide(send["send_id"], name, channel, dict.fromkeys(rules, "closed"))
    for _ in range(messages * 4):
        message = chance.choice(world.rows["campaign.messages"])
        provider = message["lane"].partition(":")[2]
        if chance.random() < 0.3:
            status = chance.choice(["accepted", "accepted", *STATES[:5]])
            reason = chance.choice(["invalid", "suppressed", None]) if status == "refused" else None
            provider = chance.choice([provider] * 5 + ["resend"])
            world.outcome(
                message["message_id"], status, chance.randrange(3_000), reason=reason, provider=provider
            )
        else:
            code = chance.choice(["5.1.1", "5.2.2", "30007", None])
            verdict = chance.choice(["human", "machine"])
            world.event(
                message["message_id"], chance.choice(KINDS), chance.randrange(5_000), verdict, code=code
            )
    for _ in range(messages // 4):
        value = chance.choice([(5_000, "EUR"), (7_000, "EUR"), (1_000, "USD"), (None, None)])
        world.conversion(chance.choice(world.rows["campaign.messages"])["message_id"], *value)
