"""Marts: what each counts, told by a few messages, and what they make of nothing."""

from collections.abc import Iterator
from datetime import date

import phonenumbers
import polars as pl
import pytest
from mart_world import OWN, World, at
from sending import Ledger

from comms_pipeline.compliance.rules_file import load_rules
from comms_pipeline.compliance.windows import Window
from comms_pipeline.loader.models import rebuild
from comms_pipeline.models.registry import models
from comms_pipeline.stores import Stores


@pytest.fixture
def world(shared_stores: Stores) -> Iterator[World]:
    made = World(shared_stores)
    yield made
    World(shared_stores)


def test_every_mart_of_an_empty_warehouse_is_empty(stores):
    world = World(stores)
    world.bring_up_to_date(compute=rebuild)
    assert {table: world.found(table).height for table in OWN} == dict.fromkeys(OWN, 0)


def test_rates_of_a_send_without_deliveries_are_null(world):
    world.contact("c1")
    world.send("s1")
    world.message("m1", "s1", "c1")
    world.message("m2", "s1", "c1")
    world.outcome("m2", "accepted")
    world.tell()
    world.bring_up_to_date()
    assert world.row("mart.campaign_performance", "messages, accepted, waiting, delivered") == (2, 1, 1, 0)
    assert world.row("mart.campaign_performance", "delivery_rate, bounce_rate") == (0.0, 0.0)
    others = "columns('(open|click|unsubscribe|complaint|conversion).*_rate')"
    assert world.row("mart.campaign_performance", others) == (None,) * 8
    assert world.row("mart.costs", "cost_micros, currency, cost_per_delivered_micros, return_on_cost") == (
        None,
        None,
        None,
        None,
    )
    assert world.row("mart.deliverability", "median_delivery_seconds, complaint_rate") == (None, None)
    assert world.found("mart.send_time_heatmap").height == 0


def test_a_message_counts_by_its_furthest_step(world):
    world.contact("c1")
    world.send("s1")
    for message_id in ("late", "machine", "person", "refused", "contradicted", "failed"):
        world.message(message_id, "s1", "c1")
        world.outcome(message_id, "refused" if message_id in ("refused", "contradicted") else "accepted")
    world.event("late", "delivered", 1)
    world.event("late", "bounced", 2)
    world.event("machine", "delivered", 1)
    world.event("machine", "opened", 1, "machine")
    # Nobody told that it was delivered: who clicks has it.
    world.event("person", "clicked", 5)
    world.event("contradicted", "delivered", 1)
    world.event("failed", "rejected", 1)
    world.tell()
    world.bring_up_to_date("mart.campaign_performance")
    counts = "accepted, refused, delivered, bounced, failed, opened, human_opened, clicked, human_clicked"
    assert world.row("mart.campaign_performance", counts) == (5, 1, 3, 1, 1, 1, 0, 1, 1)
    rates = "delivery_rate, bounce_rate, open_rate, human_open_rate, human_click_rate, click_to_open_rate"
    assert world.row("mart.campaign_performance", rates) == (3 / 5, 1 / 5, 1 / 3, 0.0, 1 / 3, None)


def test_money_is_not_added_up_over_currencies(world):
    world.send("s1")
    lanes = {"m1": "email:sendgrid", "m2": "email:sendgrid", "m3": "email:resend", "m4": "email:mailgun"}
    for message_id, lane in lanes.items():
        world.contact(message_id)
        world.message(message_id, "s1", message_id, lane=lane, cost_micros=600, currency="USD", score=0.1)
        world.outcome(message_id, "accepted", provider=lane.partition(":")[2])
        world.event(message_id, "delivered", 1)
    world.conversion("m1", 5_000, "EUR")
    world.conversion("m2", 2_000, "USD")
    world.conversion("m3", 1_000, "EUR")
    world.conversion("m3", None, None)
    world.conversion("m4", 1_800, "USD")
    world.tell()
    world.bring_up_to_date("mart.campaign_performance", "mart.costs")
    assert world.row("mart.campaign_performance", "converted, revenue_micros, currency") == (4, None, None)
    costs = "lane, cost_micros, currency, revenue_micros, revenue_currency, return_on_cost"
    assert world.found("mart.costs", costs).rows() == [
        ("email:mailgun", 600, "USD", 1_800, "USD", 3.0),
        ("email:resend", 600, "USD", 1_000, "EUR", None),
        ("email:sendgrid", 1_200, "USD", None, None, None),
    ]
    # Of one message, too.
    world.conversion("m4", 1, "EUR")
    world.tell()
    world.bring_up_to_date("mart.campaign_performance", "mart.costs")
    assert world.found("mart.costs", costs).rows()[0] == ("email:mailgun", 600, "USD", None, None, None)


def test_costs_are_those_of_accepted_segments(world):
    world.send("s1")
    text = {"channel": "sms", "lane": "sms:twilio"}
    for number, (segments, status) in enumerate([(1, "accepted"), (3, "accepted"), (2, "refused")]):
        world.contact(f"c{number}")
        cost = {"segments": segments, "cost_micros": segments * 8_300, "currency": "USD"}
        world.message(f"m{number}", "s1", f"c{number}", **text, **cost)
        world.outcome(f"m{number}", status, provider="twilio")
    world.event("m0", "delivered", 1)
    world.event("m0", "clicked", 2)
    world.tell()
    world.bring_up_to_date("mart.costs")
    columns = (
        "messages, accepted, segments, cost_micros, cost_per_delivered_micros, cost_per_human_click_micros"
    )
    assert world.row("mart.costs", columns) == (3, 2, 4, 33_200, 33_200, 33_200)
    # A price that is missing makes the sum unknown, not smaller.
    world.contact("c9")
    world.message("m9", "s1", "c9", **text, segments=1)
    world.outcome("m9", "accepted", provider="twilio")
    world.tell()
    world.bring_up_to_date("mart.costs")
    assert world.row("mart.costs", "accepted, segments, cost_micros, currency") == (3, 5, None, None)


def test_the_heat_map_is_by_the_recipients_clock(world):
    world.send("s1")
    for name, zone in {"berlin": "Europe/Berlin", "delhi": "Asia/Kolkata", "none": None}.items():
        world.contact(name, time_zone=zone)
        world.message(name, "s1", name)
        world.outcome(name, "accepted")
        # Sunday, 22:45 by UTC.
        world.event(name, "delivered", 5 * 1440 + 645)
    world.event("delhi", "opened", 6 * 1440)
    world.tell()
    world.bring_up_to_date("mart.send_time_heatmap")
    columns = "weekday, local_hour, delivered, human_opened, human_open_rate"
    assert world.found("mart.send_time_heatmap", columns).rows() == [
        (1, 4, 1, 1, 1.0),
        (7, 22, 1, 0, 0.0),
        (7, 23, 1, 0, 0.0),
    ]


def test_small_domains_are_together_and_erased_contacts_unknown(world):
    world.send("s1")
    people = {f"a{n}": {"email": f"a{n}@Big.example"} for n in range(5)}
    people |= {f"b{n}": {"email": f"b{n}@small{n}.example"} for n in range(3)}
    people |= {"gone": {"email": None, "is_erased": True}}
    for name, values in people.items():
        world.contact(name, **values)
        world.message(name, "s1", name)
        world.outcome(name, "accepted")
    world.event("a0", "deferred", 1)
    world.event("a0", "delivered", 3)
    world.event("a1", "delivered", 1)
    world.tell()
    world.bring_up_to_date("mart.deliverability")
    columns = "domain, accepted, delivered, deferred_once, median_delivery_seconds, p95_delivery_seconds"
    assert world.found("mart.deliverability", columns).rows() == [
        ("(small domains)", 3, 0, 0, None, None),
        ("(unknown)", 1, 0, 0, None, None),
        ("big.example", 5, 2, 1, 120.0, pytest.approx(174.0)),
    ]


CLASSES = [
    ("bounced", "5.1.1", "550 5.1.1 user unknown", "invalid"),
    ("bounced", "5.1.8", None, "blocked"),
    ("bounced", "5.2.2", "mailbox full", "mailbox"),
    ("blocked", "5.7.1", "refused by policy", "blocked"),
    ("blocked", "5.7.26", "looks like SPAM", "spam"),
    ("blocked", "550", "looks like spam", "invalid"),
    ("failed", "4.4.1", "timed out", "transient"),
    ("failed", "421", None, "transient"),
    ("failed", "30003", None, "mailbox"),
    ("failed", "30007", None, "spam"),
    ("failed", "30008", None, "transient"),
    ("failed", "99999", "something new", "other"),
]
WITHOUT_CODE = [
    ("rejected", "Bounced Address", "invalid"),
    ("rejected", "Spam Reporting Address", "blocked"),
    ("rejected", "something new", "blocked"),
    ("bounced", None, "other"),
]


def test_codes_and_where_there_is_none_words_have_a_class(world):
    world.send("s1")
    world.contact("c1")
    told = [*CLASSES, *((kind, None, reason, found) for kind, reason, found in WITHOUT_CODE)]
    for number, (kind, code, reason, _) in enumerate(told):
        world.message(f"m{number}", "s1", "c1")
        world.outcome(f"m{number}", "accepted")
        world.event(f"m{number}", kind, 2, code=code, reason=reason)
        # What was told last counts.
        world.event(f"m{number}", kind, 1, code="5.3.0")
    world.tell()
    world.bring_up_to_date("mart.bounces")
    with_code = world.found("mart.bounces", "code, bounce_class, messages").filter(pl.col("code") != "")
    assert sorted(with_code.rows()) == sorted((code, found, 1) for _, code, _, found in CLASSES)
    others = world.found("mart.bounces", "domain, bounce_class, messages, code").filter(pl.col("code") == "")
    assert others.drop("code").rows() == [
        ("(small domains)", "blocked", 2),
        ("(small domains)", "invalid", 1),
        ("(small domains)", "other", 1),
    ]


def test_exclusions_name_every_rule_and_who_broke_only_that(world):
    world.send("s1")
    world.decide("s1", "c1", "email", {"not-suppressed": "unsubscribed", "consent-recorded": "none"})
    world.decide("s1", "c2", "email", {"not-suppressed": "bounced"})
    world.decide("s1", "c2", "sms", {"not-suppressed": "stopped", "tcpa-hours": "closed until 08:00"})
    world.decide("s1", "c3", "sms", {"quiet-hours": "the windows never open together"})
    world.decide("s1", "c4", "email", {})
    world.tell()
    world.bring_up_to_date("mart.exclusions")
    assert world.found("mart.exclusions", "channel, rule_id, contacts, sole_contacts").rows() == [
        ("email", "consent-recorded", 1, 0),
        ("email", "not-suppressed", 2, 1),
        ("sms", "not-suppressed", 1, 1),
        ("sms", "quiet-hours", 1, 1),
    ]


def test_windows_are_known_by_their_names(world):
    pattern = "(-hours|^daytime|^day-off)$"
    with world.stores.lake.reader() as cursor:
        found = {
            rule.id
            for rule in load_rules()
            if cursor.execute(
                "select regexp_matches($id, $pattern)", {"id": rule.id, "pattern": pattern}
            ).fetchall()
            == [(True,)]
        }
    assert pattern in (models()["mart.exclusions"].select or "")
    assert found == {rule.id for rule in load_rules() if isinstance(rule.check, Window)}


def test_calling_codes_are_those_of_the_numbering_plan(world):
    codes = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
    for code in codes:
        for number in range(5):
            world.contact(f"{code}-{number}", phone=f"+{code}{12345678 + number}", email=None)
    world.tell()
    assert world.found("core.contact_domains", "distinct calling_code")["calling_code"].to_list() == sorted(
        f"+{code}" for code in codes
    )


def test_a_contact_comes_once_and_leaves_once(world):
    world.send("s1")
    erased = {"is_erased": True, "updated_at": at(3 * 1440), "email": None}
    for name, values in {"stays": {}, "leaves": {}, "complains": {}, "bounces": {}, "erased": erased}.items():
        world.contact(name, created_at=at(0), **values)
        world.message(name, "s1", name)
        world.outcome(name, "accepted")
    world.event("leaves", "unsubscribed", 1440)
    world.event("leaves", "complained", 2 * 1440)
    world.event("complains", "complained", 2 * 1440)
    world.event("bounces", "bounced", 1440)
    world.tell()
    world.bring_up_to_date("mart.list_growth")
    columns = "day, new_contacts, unsubscribed, complained, bounced, erased, net, contacts_total"
    assert world.found("mart.list_growth", columns).rows() == [
        (date(2026, 12, 1), 5, 0, 0, 0, 0, 5, 5),
        (date(2026, 12, 2), 0, 1, 0, 1, 0, -2, 3),
        (date(2026, 12, 3), 0, 0, 1, 0, 0, -1, 2),
        (date(2026, 12, 4), 0, 0, 0, 0, 1, -1, 1),
    ]


def test_a_stand_in_answers_for_what_it_took(world):
    world.send("s1")
    for number in range(4):
        world.contact(f"c{number}")
        world.message(f"m{number}", "s1", f"c{number}")
    world.outcome("m0", "accepted")
    world.outcome("m1", "accepted", provider="resend")
    world.outcome("m2", "refused", provider="resend", reason="invalid")
    # Our own last check is not the provider's doing.
    world.outcome("m3", "refused", reason="suppressed")
    world.event("m0", "delivered", 2)
    world.tell()
    world.bring_up_to_date("mart.provider_health")
    columns = (
        "provider, lane, accepted, refused, delivered, median_delivery_seconds, refused_rate, unknown_rate"
    )
    assert world.found("mart.provider_health", columns).rows() == [
        ("resend", "email:resend", 1, 1, 0, None, 0.5, 0.0),
        ("sendgrid", "email:sendgrid", 1, 0, 1, 120.0, 0.0, 0.0),
    ]


def test_the_queue_is_counted_by_lane_and_status(stores):
    # The queue counts everybody's batches.
    world = World(stores)
    ledger = Ledger(server=world.stores.server)
    batch = (
        "insert into batch (send_id, organisation_id, generation, lane, channel, content_id, message_count, payload, "
        "status, due_at) values ('queued', 'club', 0, %s, 'email', 'x', %s, %s, %s, %s)"
    )
    for lane, count, payload, status, minute in (
        ("email:sendgrid", 10, b"x", "planned", 5),
        ("email:sendgrid", 7, b"x", "planned", 3),
        ("email:sendgrid", 2, b"x", "unknown", 1),
        ("sms:twilio", 3, b"x", "dead", 2),
        # Done, cancelled, or past retrying: no work for anybody.
        ("sms:twilio", 3, None, "dead", 0),
        ("sms:twilio", 3, None, "settled", 0),
    ):
        ledger.do(batch, lane, count, payload, status, at(minute))
    rebuild(world.stores, "mart.queue_health")
    assert world.found("mart.queue_health", "lane, status, messages, oldest_due_at").rows() == [
        ("email:sendgrid", "planned", 17, at(3)),
        ("email:sendgrid", "unknown", 2, at(1)),
        ("sms:twilio", "dead", 3, at(2)),
    ]
