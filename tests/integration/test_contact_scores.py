"""Scores of contacts against figures worked out by hand and in plain Python, and refreshed bit by bit."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import polars as pl
import pytest

from comms_pipeline.domain.behaviour import MessageEvent
from comms_pipeline.domain.message import Channel
from comms_pipeline.loader.models import rebuild, refresh
from comms_pipeline.models.registry import model_named
from comms_pipeline.stores import Stores

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
TABLE = "core.contact_scores"
Message = dict[str, Any]


@pytest.fixture
def at_noon(stores: Stores) -> Stores:
    return Stores(stores.settings, now=lambda: NOW)


def add_contacts(stores: Stores, *contact_ids: str, organisation: str = "gallery") -> None:
    frame = pl.DataFrame(
        {
            "contact_id": contact_ids,
            "organisation_id": organisation,
            "attributes": "{}",
            "is_erased": False,
            "created_at": NOW - timedelta(days=400),
            "updated_at": NOW - timedelta(days=400),
        }
    )
    with stores.lake.writer() as writer:
        writer.append("core.contacts", frame)


def message(contact_id: str, number: int, days_ago: int, did: str, channel: str = "email") -> Message:
    """One message of so long ago, and what a person did with it: nothing, opened, clicked, unsubscribed, lost."""
    at = NOW - timedelta(days=days_ago)
    reached = None if did == "lost" else at
    opened = at + timedelta(minutes=5) if did in {"opened", "clicked"} else None
    clicked = at + timedelta(minutes=6) if did == "clicked" else None
    return {
        "message_id": f"{contact_id}-{number}",
        "contact_id": contact_id,
        "organisation_id": "gallery",
        "channel": channel,
        "status": "accepted",
        "status_rank": 20,
        "accepted_at": at,
        "delivered_at": reached,
        "first_human_opened_at": opened,
        "first_human_clicked_at": clicked,
        "unsubscribed_at": at if did == "unsubscribed" else None,
        "opens": 3,  # machines open too
        "human_opens": 2 if opened else 0,
        "clicks": 1 if clicked else 0,
        "human_clicks": 1 if clicked else 0,
        "updated_at": NOW,
    }


def add_messages(stores: Stores, load_id: int, *messages: Message) -> None:
    schema = {name: pl.Datetime("us", "UTC") for name in messages[0] if name.endswith("_at")}
    frame = pl.DataFrame(messages, schema_overrides=schema).with_columns(load_id=pl.lit(load_id))
    with stores.lake.writer() as writer:
        writer.append("core.message_status", frame)
        writer.cursor.execute("delete from raw.watermarks where feed = 'loads'")
        writer.cursor.execute(
            "insert into raw.watermarks values ('loads', 0, $load_id, now())", {"load_id": load_id}
        )


def scores(stores: Stores) -> dict[str, dict[str, Any]]:
    with stores.lake.reader() as cursor:
        rows = (
            cursor.execute(f"select * exclude (computed_at) from {TABLE} order by contact_id").pl().to_dicts()
        )
    return {row["contact_id"]: row for row in rows}


def test_scores_are_what_the_formulas_say(at_noon: Stores) -> None:
    add_contacts(at_noon, "keen", "silent", "gone", "lost", "new")
    add_messages(
        at_noon,
        1,
        *(message("keen", number, 0, "clicked") for number in range(3)),
        *(message("silent", number, 0, "nothing") for number in range(4)),
        message("gone", 1, 90, "opened", "sms"),
        message("gone", 2, 0, "unsubscribed"),
        message("lost", 1, 0, "lost"),
    )
    rebuild(at_noon, TABLE)
    found = scores(at_noon)

    keen = found["keen"]
    assert (keen["messages"], keen["delivered"], keen["human_opens"], keen["human_clicks"]) == (3, 3, 3, 3)
    assert keen["engagement_score"] == 0.75  # 3 / (3 + 1)
    assert (keen["audience_type"], keen["best_channel"]) == ("hot", "email")
    assert keen["churn_risk"] == 0.1

    silent = found["silent"]
    assert (silent["engagement_score"], silent["audience_type"], silent["best_channel"]) == (
        0.0,
        "cold",
        None,
    )
    # p = 1/9, silent for 4: 0.1 / (0.1 + 0.9 * (8/9)^4)
    assert silent["churn_risk"] == pytest.approx(0.151088, abs=1e-6)

    gone = found["gone"]
    # weights 0.5 and 1, worth 0.5 and 0
    assert (gone["engagement_score"], gone["churn_risk"], gone["best_channel"]) == (0.1, 1.0, "sms")
    assert gone["channel_engagement"] == {"email": 0.0, "sms": pytest.approx(0.166667, abs=1e-6)}

    assert (found["lost"]["audience_type"], found["lost"]["churn_risk"]) == ("contacted", None)
    assert (found["new"]["audience_type"], found["new"]["engagement_score"]) == ("new", 0.0)


def test_steps_tell_how_many_messages_of_a_channel_made_one_and_when_the_latest_did(at_noon: Stores) -> None:
    add_contacts(at_noon, "reader", "new")
    add_messages(
        at_noon,
        1,
        message("reader", 1, 9, "opened"),
        message("reader", 2, 3, "opened"),
        message("reader", 3, 1, "lost"),
        message("reader", 4, 2, "clicked", "sms"),
    )
    rebuild(at_noon, TABLE)
    found = scores(at_noon)

    email, sms = found["reader"]["email_steps"], found["reader"]["sms_steps"]
    assert email["accepted"] == {"times": 3, "last_at": NOW - timedelta(days=1)}
    assert email["delivered"] == {"times": 2, "last_at": NOW - timedelta(days=3)}
    assert email["human_opened"] == {"times": 2, "last_at": NOW - timedelta(days=3, minutes=-5)}
    assert email["human_clicked"] == email["opened"] == {"times": 0, "last_at": None}
    assert sms["human_clicked"] == {"times": 1, "last_at": NOW - timedelta(days=2, minutes=-6)}
    assert found["reader"]["whatsapp_steps"] is None
    assert found["new"]["email_steps"] is None


def test_every_channel_has_steps_and_every_event_is_among_them() -> None:
    columns = model_named(TABLE).header.columns
    [kind] = {columns[f"{channel}_steps"].type for channel in Channel}

    assert all(f"{event} struct(times integer, last_at timestamptz)" in kind for event in MessageEvent)


def test_what_only_machines_did_counts_nothing(at_noon: Stores) -> None:
    add_contacts(at_noon, "scanned")
    add_messages(at_noon, 1, *(message("scanned", number, 1, "nothing") for number in range(5)))
    rebuild(at_noon, TABLE)
    assert scores(at_noon)["scanned"]["engagement_score"] == 0.0


def test_best_hour_is_the_middle_of_the_hours_at_which_a_contact_reads(at_noon: Stores) -> None:
    add_contacts(at_noon, "morning", "night")
    with at_noon.lake.writer() as writer:
        hours = {"contact_id": ["morning"] * 3 + ["night"] * 2, "local_hour": [7, 8, 9, 23, 0]}
        frame = pl.DataFrame(hours, schema_overrides={"local_hour": pl.Int8})
        writer.append("core.send_hours", frame.with_columns(weight=pl.lit(1.0), computed_at=pl.lit(NOW)))
    rebuild(at_noon, TABLE)
    found = scores(at_noon)
    assert found["morning"]["best_hour"] == 8
    assert found["night"]["best_hour"] == 0, "23 and 0 weigh the same; the earlier hour stands"


def test_refreshing_bit_by_bit_gives_what_computing_all_gives(at_noon: Stores) -> None:
    random = Random(7)
    contacts = [f"c{number}" for number in range(40)]
    add_contacts(at_noon, *contacts)
    did = ["nothing", "opened", "clicked", "lost", "unsubscribed"]
    number = 0
    for load_id in range(1, 6):
        messages = []
        for _ in range(30):
            number += 1
            channel = random.choice(["email", "sms"])
            drawn = random.choices(did, weights=[5, 3, 2, 1, 0.2])[0]
            messages.append(message(random.choice(contacts), number, random.randrange(200), drawn, channel))
        add_messages(at_noon, load_id, *messages)
        done = refresh(at_noon, TABLE)
        assert load_id == 1 or (done.keys_changed or 0) <= 30
    bit_by_bit = scores(at_noon)
    rebuild(at_noon, TABLE)
    assert bit_by_bit == scores(at_noon)
    assert len(bit_by_bit) == 40


def test_scores_equal_an_independent_computation(at_noon: Stores) -> None:
    random = Random(11)
    contacts = [f"c{number}" for number in range(30)]
    add_contacts(at_noon, *contacts)
    messages = [
        message(
            random.choice(contacts),
            number,
            random.randrange(300),
            random.choice(["nothing", "opened", "clicked"]),
        )
        for number in range(300)
    ]
    add_messages(at_noon, 1, *messages)
    rebuild(at_noon, TABLE)
    found = scores(at_noon)

    weighted: dict[str, float] = defaultdict(float)
    weights: dict[str, float] = defaultdict(float)
    for each in messages:
        weight = 0.5 ** ((NOW.date() - each["delivered_at"].date()).days / 90)
        worth = 1.0 if each["human_clicks"] else 0.5 if each["human_opens"] else 0.0
        weighted[each["contact_id"]] += weight * worth
        weights[each["contact_id"]] += weight
    for contact in contacts:
        assert found[contact]["engagement_score"] == pytest.approx(
            weighted[contact] / (weights[contact] + 1), abs=1e-5
        )


def test_with_a_new_day_everybody_is_scored_again_and_erased_contacts_leave(
    stores: Stores, at_noon: Stores
) -> None:
    add_contacts(at_noon, "keen", "erased")
    add_messages(at_noon, 1, message("keen", 1, 0, "clicked"), message("erased", 1, 0, "clicked"))
    rebuild(at_noon, TABLE)
    assert scores(at_noon)["keen"]["engagement_score"] == 0.5

    later = Stores(stores.settings, now=lambda: NOW + timedelta(days=90))
    with later.lake.writer() as writer:
        writer.cursor.execute("update core.contacts set is_erased = true where contact_id = 'erased'")
    refresh(later, TABLE)
    found = scores(later)
    later.lake.close()
    assert list(found) == ["keen"]
    assert found["keen"]["engagement_score"] == pytest.approx(0.333333, abs=1e-6)  # 0.5 / (0.5 + 1)


def test_empty_warehouse_has_no_scores(at_noon: Stores) -> None:
    assert rebuild(at_noon, TABLE).rows == 0
    assert rebuild(at_noon, "mart.contact_engagement").rows == 0


def test_mart_counts_contacts_by_type(at_noon: Stores) -> None:
    add_contacts(at_noon, "keen", "new")
    add_messages(at_noon, 1, *(message("keen", number, 0, "clicked") for number in range(3)))
    rebuild(at_noon, TABLE)
    rebuild(at_noon, "mart.contact_engagement")
    with at_noon.lake.reader() as cursor:
        rows = cursor.execute(
            "select audience_type, contacts, contact_share, engaged_30_days from mart.contact_engagement order by 1"
        ).fetchall()
    assert rows == [("hot", 1, 0.5, 1), ("new", 1, 0.5, 0)]
