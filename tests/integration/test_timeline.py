"""`core.timeline`: everything that happened to a contact, in order, each thing once, without personal data."""

from datetime import UTC, datetime, timedelta

import polars as pl

from comms_pipeline.models.registry import model_named
from comms_pipeline.stores import Stores

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
MESSAGE = "11" * 16
CONTACT = "c0" * 16

TIMELINE = """
select what, message_id is not null, detail, source from core.timeline where contact_id = $contact_id
order by occurred_at, what
"""


def at(minutes: int) -> datetime:
    return NOON + timedelta(minutes=minutes)


def frame(**values: object) -> pl.DataFrame:
    return pl.DataFrame([values], infer_schema_length=None)


def test_everything_that_happened_to_a_contact_stands_in_order(stores: Stores) -> None:
    send = {"send_id": "gala", "contact_id": CONTACT}
    rule = {"rule_id": "quiet-hours", "version": 1, "evidence": "it is night there"}
    decision = send | {"decided_at": at(2), "rules": [rule], "hours": None}
    event = send | {
        "message_id": MESSAGE,
        "channel": "email",
        "organisation_id": "club",
        "provider": "comms",
        "received_at": at(10),
        "match": "message_id",
    }
    with stores.lake.writer() as writer:
        writer.append(
            "core.contacts",
            frame(
                contact_id=CONTACT, organisation_id="club", email="ann@example.com", name="Ann", attributes="{}",
                consent_source="form", consent_kind="express", consent_at=at(-60), is_erased=False,
                created_at=at(-50), updated_at=at(-50),
            ),
        )  # fmt: skip
        writer.append(
            "campaign.sends",
            frame(
                send_id="gala", campaign_id="gala", version=1, organisation_id="club",
                message_class="marketing", due_at=at(0),
            ),
        )  # fmt: skip
        writer.append("campaign.audiences", frame(**send, selected_at=at(1)))
        writer.append(
            "campaign.decisions",
            pl.concat(
                [
                    frame(**decision, channel="sms", decision="excluded", not_before=None),
                    frame(**decision, channel="email", decision="deferred", not_before=at(30)),
                ],
                how="vertical_relaxed",
            ),
        )
        writer.append(
            "campaign.messages",
            frame(
                **send, generation=1, message_id=MESSAGE, channel="email", lane="email:sendgrid", variant="a",
                language=None, score=0.5, segments=None, due_at=at(30), planned_at=at(3),
            ),
        )  # fmt: skip
        writer.append(
            "core.outcomes",
            frame(
                outcome_id=1, batch_id=1, send_id="gala", message_id=MESSAGE, status="accepted", provider="sendgrid",
                provider_message_id="x.1", recorded_at=at(31),
            ),
        )  # fmt: skip
        writer.append(
            "core.events",
            pl.concat(
                [
                    frame(**event, event_id="e1", kind="trap", occurred_at=at(32), verdict="unknown"),
                    frame(
                        **event, event_id="e2", kind="clicked", occurred_at=at(33), verdict="machine",
                        url=f"https://x.example/u/{'A' * 90}", verdict_reasons=["trap", "link-burst"],
                        verdict_version=2,
                    ),
                ],
                how="diagonal",
            ),
        )  # fmt: skip
        writer.append(
            "core.conversions",
            frame(
                event_id="b1", message_id=MESSAGE, **send, organisation_id="club", channel="email", variant="a",
                type="purchase", occurred_at=at(40), touch_kind="clicked", touched_at=at(33),
                seconds_since_touch=420, value_micros=12_500_000, currency="EUR", model="last_touch",
                window_hours=72,
            ),
        )  # fmt: skip
    with stores.lake.reader() as cursor:
        cursor.execute(f"create temp view timeline as {model_named('core.timeline').select}")
        found = cursor.execute(
            TIMELINE.replace("core.timeline", "timeline"), {"contact_id": CONTACT}
        ).fetchall()
        texts = cursor.execute("select string_agg(t::varchar) from timeline t").fetchone()
        key = ", ".join(model_named("core.timeline").header.key)
        twice = cursor.execute(f"select 1 from timeline group by {key} having count(*) > 1").fetchall()
    assert found == [
        ("consented", False, "express, from form, as the import said", "core.contacts"),
        ("imported", False, "first known", "core.contacts"),
        ("selected", False, "into the audience", "campaign.audiences"),
        ("deferred", True, "email, until 2026-12-01 12:30 UTC, rules quiet-hours", "campaign.decisions"),
        ("excluded", False, "sms, rules quiet-hours", "campaign.decisions"),
        (
            "planned",
            True,
            "email, by email:sendgrid, variant a, due 2026-12-01 12:30 UTC",
            "campaign.messages",
        ),
        ("accepted", True, "sendgrid, known there as x.1", "core.outcomes"),
        ("trap", True, "told by comms", "core.events"),
        (
            "clicked",
            True,
            "told by comms, https://x.example/u/…, by machine, because of trap link-burst",
            "core.events",
        ),
        ("conversion", True, "purchase, credited to what was clicked, 12.5 EUR", "core.conversions"),
    ]
    assert texts is not None
    assert "ann@" not in str(texts[0])
    assert "Ann" not in str(texts[0])
    assert twice == []
