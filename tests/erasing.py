"""What tests of privacy share: a gallery with guests in every store, one of whom asks to be forgotten. No tests."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from comms_pipeline.dispatch.payload import pack
from comms_pipeline.dispatch.send import run_lane
from comms_pipeline.domain.addresses import address_key, address_keys
from comms_pipeline.domain.content import Content
from comms_pipeline.domain.message import Channel, message_ids
from comms_pipeline.ledger import batches, sends
from comms_pipeline.ledger.batches import NewBatch
from comms_pipeline.ledger.landing import land
from comms_pipeline.ledger.sends import Organisation
from comms_pipeline.loader.contacts import import_contacts
from comms_pipeline.loader.outcomes import load_outcomes
from comms_pipeline.stores import Stores

ADA, ADA_PHONE = "Ada.Lovelace+vip@x.example", "+12025550101"
# Both contain or nearly are hers, and are other people's.
LONGER, NEXT_PHONE = "mada.lovelace+vip@x.example", "+12025550102"
BEN = "ben@x.example"
GUESTS = f"""id,email,phone,name,town
G-7,{ADA},{ADA_PHONE},Ada Lovelace,Zürich
G-8,{BEN},{NEXT_PHONE},Ben,
G-9,{LONGER},,Mada,
"""
MAPPING = """organisation: gallery
consent: {source: guest book}
columns: {external_id: id, email: email, phone: phone, name: name}
"""
SENT, WAITING = "opening", "closing"
EMAIL, SMS = "email:sendgrid", "sms:twilio"


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Its stores, and its guests' contact ids by name."""

    stores: Stores
    ids: dict[str, str]

    def ledger(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with self.stores.ledger() as connection, connection.transaction():
            connection.execute("set local session_replication_role = replica")
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def lake(self, query: str) -> list[tuple[Any, ...]]:
        with self.stores.lake.reader() as cursor:
            return cursor.execute(query).fetchall()

    def message_id(self, name: str, send_id: str, channel: Channel = Channel.EMAIL) -> str:
        return message_ids(send_id, [self.ids[name]], channel)[0]

    def key(self, address: str, channel: Channel = Channel.EMAIL) -> bytes:
        return address_key(address, channel, self.stores.secret)

    def plan(self, send_id: str, names: list[str], channel: Channel, addresses: list[str]) -> pl.DataFrame:
        """Plan messages in the lake; returns their payload for the queue."""
        ids = [self.ids[name] for name in names]
        lane = EMAIL if channel is Channel.EMAIL else SMS
        now = self.stores.now()
        planned = pl.DataFrame(
            {"contact_id": ids, "message_id": message_ids(send_id, ids, channel)}
        ).with_columns(
            send_id=pl.lit(send_id),
            generation=pl.lit(0),
            channel=pl.lit(str(channel)),
            lane=pl.lit(lane),
            variant=pl.lit("a"),
            score=pl.lit(1.0),
            due_at=pl.lit(now),
            planned_at=pl.lit(now),
        )
        people = planned.select("send_id", "contact_id")
        rules = pl.Series("rules", [[{"rule_id": "none", "version": 1, "evidence": ""}]] * planned.height)
        decided = people.with_columns(
            rules, channel=pl.lit(str(channel)), decision=pl.lit("allowed"), decided_at=now
        )
        with self.stores.lake.writer() as writer:
            writer.append("campaign.messages", planned)
            writer.append("campaign.audiences", people.with_columns(selected_at=pl.lit(now)))
            writer.append("campaign.decisions", decided)
        return planned.select("message_id", "contact_id").with_columns(
            address=pl.Series(addresses),
            address_key=address_keys(pl.Series(addresses), channel, self.stores.secret),
            s0=pl.Series([f"{name} & more" for name in names]),
        )

    def enqueue(self, send_id: str, lane: str, payload: pl.DataFrame, content: Content, **due: float) -> None:
        """Put a batch into the queue."""
        with self.stores.ledger() as connection, connection.transaction():
            batches.claim_generation(connection, send_id=send_id, generation=0, message_count=payload.height)
            batches.enqueue(
                connection,
                send_id=send_id,
                organisation_id="gallery",
                generation=0,
                contents={content.content_id: content.to_dict()},
                batches=[
                    NewBatch(
                        lane=lane,
                        channel=Channel(lane.partition(":")[0]),
                        content_id=content.content_id,
                        priority=2,
                        message_count=payload.height,
                        payload=pack(payload),
                        due_at=datetime.now(UTC) + timedelta(**due),
                    )
                ],
            )

    def open_send(self, send_id: str) -> None:
        with self.stores.ledger() as connection, connection.transaction():
            sends.create_send(
                connection, send_id=send_id, campaign_id="season", version=1, due_at=datetime.now(UTC)
            )
            assert sends.start_send(connection, send_id)


def mail(text: str | None = None) -> Content:
    """A letter with one slot, or one of a single person with its text in full."""
    body: tuple[str | int, ...] = ("Dear ", 0) if text is None else (text,)
    return Content(
        campaign_id="season",
        parts={"subject": ("Come",), "text": body},
        sender="office@gallery.example",
    )


def sms() -> Content:
    return Content(campaign_id="season", parts={"text": ("Come, ", 0)}, sender="")


def open_gallery(stores: Stores, folder: Path) -> Gallery:
    """Guests imported; an opening that was sent, and a closing that waits."""
    with stores.ledger() as connection:
        sends.put_organisation(
            connection,
            Organisation(organisation_id="gallery", name="The Gallery", postal_address="1 Main Street"),
        )
        sends.apply_campaign(
            connection, campaign_id="season", organisation_id="gallery", digest="1", spec={}, templates={}
        )
    folder.mkdir()
    guests, mapping = folder / "guests.csv", folder / "guests.map.yaml"
    guests.write_text(GUESTS, encoding="utf-8")
    mapping.write_text(MAPPING, encoding="utf-8")
    import_contacts(stores, guests, mapping)
    with stores.lake.reader() as cursor:
        ids = dict(cursor.execute("select name, contact_id from core.contacts").fetchall())
    return Gallery(stores=stores, ids={name.split()[0]: contact_id for name, contact_id in ids.items()})


def send_opening(gallery: Gallery) -> None:
    """An opening that the providers took, with scores and webhooks that followed."""
    stores = gallery.stores
    gallery.open_send(SENT)
    letters = gallery.plan(SENT, ["Ada", "Ben"], Channel.EMAIL, [ADA, BEN])
    texts = gallery.plan(SENT, ["Ada"], Channel.SMS, [ADA_PHONE])
    gallery.enqueue(SENT, EMAIL, letters, mail())
    gallery.enqueue(SENT, SMS, texts, sms())
    for lane in (EMAIL, SMS):
        run_lane(stores.ledger, stores.providers, lane=lane, send_id=SENT, linger_seconds=0)
    load_outcomes(stores)
    events = [
        {"email": address, "event": "open", "sg_event_id": address[:3]} for address in (ADA, LONGER, BEN)
    ]
    form = f"To=%2B{ADA_PHONE[1:]}&From=%2B15005550006&Body=mail+{ADA.replace('@', '%40').replace('+', '%2B')}+or+call"
    with stores.ledger() as connection:
        land(connection, "sendgrid", "events", "", json.dumps(events).encode())
        land(connection, "twilio", "status", f"to=%2B{ADA_PHONE[1:]}", form.encode())
    now = "timestamptz '2026-01-01 00:00:00+00'"
    with stores.lake.writer() as writer:
        for name in ("Ada", "Ben"):
            writer.cursor.execute(
                f"insert into core.contact_scores by name select '{gallery.ids[name]}' as contact_id, "
                f"'gallery' as organisation_id, 1 as messages, 0.5 as engagement_score, {now} as computed_at"
            )
            writer.cursor.execute(f"insert into core.send_hours select '{gallery.ids[name]}', 9, 1.0, {now}")
        writer.cursor.execute(
            "insert into core.events by name select 'e1' as event_id, $message as message_id, $send as send_id, "
            "$contact as contact_id, 'email' as channel, 'sendgrid' as provider, 'clicked' as kind, "
            f"{now} as occurred_at, {now} as received_at, $url as url, 'human' as verdict",
            {
                "message": gallery.message_id("Ada", SENT),
                "send": SENT,
                "contact": gallery.ids["Ada"],
                "url": "https://x.example/?who=ADA.lovelace%2Bvip%40x.example&n=1",
            },
        )


def queue_closing(gallery: Gallery) -> None:
    """A closing that waits for tomorrow: a batch with a neighbour, and a letter too long to share its text."""
    gallery.open_send(WAITING)
    both = gallery.plan(WAITING, ["Ada", "Ben"], Channel.EMAIL, [ADA, BEN])
    alone = gallery.plan(WAITING, ["Ada"], Channel.SMS, [ADA_PHONE])
    gallery.enqueue(WAITING, EMAIL, both, mail(), days=1)
    gallery.enqueue(WAITING, SMS, alone, mail(f"Dear Ada of Zürich, {ADA}, this is yours alone"), days=1)
