"""`comms campaigns plan`: what a send would do, when it would be through and what it would cost; nothing happens."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine

from comms_pipeline.ledger import limits
from comms_pipeline.ledger.server import Server

pytestmark = pytest.mark.xdist_group("command_line")

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
HTML = '<p>{{ name }}, we open! <a href="{{ unsubscribe_url }}">No more</a> {{ postal_address }}</p>'
TEXT = "{{ name }}, we open! " + "x" * 160
MAPPING = {
    "organisation": "ice-rink",
    "consent": {"source": "ticket-desk", "kind": "written", "at": "2026-03-01T00:00:00Z"},
    "columns": {
        "external_id": "number",
        "email": "email",
        "phone": "phone",
        "name": "number",
        "country": "'US'",
        "region": "'ME'",
        "time_zone": "'America/New_York'",
        "language": "language",
    },
}


@dataclass(frozen=True, kw_only=True)
class Rink:
    """An installation whose organisation has ten guests with an e-mail address, and four with a phone only."""

    comms: CommandLine
    folder: Path

    def apply(self, *, organisation: dict[str, Any] | None = None, **changes: Any) -> None:
        """Apply the campaign `opening`, as it is unless changed."""
        files = {
            "organisation.yaml": {"id": "ice-rink", "name": "The Rink", "postal_address": "1 Main Street"}
            | (organisation or {}),
            "opening.yaml": {
                "id": "opening",
                "organisation": "ice-rink",
                "class": "transactional",
                "audience": {"everyone": True},
                "channels": ["email", "sms"],
                "sender": {"from_email": "office@rink.example", "from_name": "The Rink"},
                "templates": {
                    "email": {"subject": "We open", "html": "opening.html"},
                    "sms": {"text": "opening.txt"},
                },
            }
            | changes,
        }
        for name, content in files.items():
            # JSON is YAML.
            (self.folder / name).write_text(json.dumps(content), encoding="utf-8")
        (self.folder / "opening.html").write_text(HTML, encoding="utf-8")
        (self.folder / "opening.txt").write_text(TEXT, encoding="utf-8")
        self.comms.ok("campaigns", "apply", str(self.folder))

    def plan(self, **variables: str) -> str:
        """What the plan says; checked to change nothing."""
        before = self.comms.state()
        printed = self.comms.ok("campaigns", "plan", "opening", **variables)
        assert self.comms.state() == before
        return printed

    def table(self, printed: str, title: str) -> list[list[str]]:
        """The cells of the table below a title."""
        below = printed.split(title, 1)[1].splitlines()[1:]
        rows = []
        for line in below:
            if line.startswith("└"):
                break
            if line.startswith("│"):
                rows.append([cell.strip() for cell in line.strip("│").split("│")])
        return rows


@pytest.fixture(scope="module")
def installation(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rink]:
    folder = tmp_path_factory.mktemp("plan")
    server = replace(postgres, database="plan_command")
    comms = CommandLine(home=folder / "home", variables={"COMMS_DATABASE_URL": server.url()})
    rink = Rink(comms=comms, folder=folder / "rink")
    rink.folder.mkdir()
    comms.ok("init")
    rink.apply()
    guests = [f"G{n},quiet.g{n}@guests.example,,{'es' if n < 3 else 'en'}" for n in range(10)]
    guests += [f"P{n},,+1207555010{n},en" for n in range(4)]
    (folder / "guests.csv").write_text("number,email,phone,language\n" + "\n".join(guests) + "\n")
    (folder / "guests.map.yaml").write_text(json.dumps(MAPPING))
    comms.ok("import", "contacts", str(folder / "guests.csv"), "--map", str(folder / "guests.map.yaml"))
    yield rink
    comms.stores.lake.close()


@pytest.fixture
def rink(installation: Rink) -> Rink:
    """The campaign and its organisation as they are unless a test changes them."""
    installation.apply()
    return installation


@pytest.fixture
def quota(rink: Rink) -> Iterator[Callable[[str, str, int], None]]:
    """Sets quotas for one test."""
    scopes = []

    def put(scope: str, period: str, allowed: int) -> None:
        scopes.append((scope, period))
        with rink.comms.stores.ledger() as ledger:
            limits.put_quota(ledger, scope, period, allowed)

    yield put
    with rink.comms.stores.ledger() as ledger:
        for scope, period in scopes:
            limits.put_quota(ledger, scope, period, None)


def test_funnel_messages_and_segments(rink: Rink) -> None:
    printed = rink.plan()
    assert rink.table(printed, "opening: 14 contacts in the audience") == [
        ["excluded", "0"],
        ["message by email", "10"],
        ["message by sms", "4"],
    ]
    assert rink.table(printed, "Messages") == [["email", "", "en", "10", ""], ["sms", "", "en", "4", "8"]]
    assert "SMS segments: 8" in printed


def test_variants_and_languages_are_counted(rink: Rink) -> None:
    rink.apply(
        channels=["email"],
        templates={"email": {"subject": "We open", "html": "opening.html"}},
        translations={"es": {"email": {"subject": "Abrimos", "html": "opening.html"}}},
    )
    printed = rink.plan()
    assert rink.table(printed, "Messages") == [["email", "", "en", "7", ""], ["email", "", "es", "3", ""]]
    assert rink.table(printed, "Why excluded") == [
        ["address-present", "no valid address for this channel", "4"]
    ]


def test_cost_is_by_segment_or_message_as_far_as_prices_are_known(rink: Rink) -> None:
    assert "No price set: COMMS_PRICES (email:sendgrid, sms:twilio)" in rink.plan()
    some = rink.plan(COMMS_PRICES="sms:twilio=0.0083 USD")
    assert "Estimated cost: 0.0664 USD" in some
    assert "No price set: COMMS_PRICES (email:sendgrid)" in some
    every = rink.plan(COMMS_PRICES="sms:twilio=0.0083 USD, email:sendgrid=0.001 EUR")
    assert "Estimated cost: 0.01 EUR + 0.0664 USD" in every
    assert "No price" not in every


def test_a_price_that_is_none_is_one_line(rink: Rink) -> None:
    wrong = rink.comms("campaigns", "plan", "opening", COMMS_PRICES="sms:twilio=cheap")
    assert wrong.code == 1
    assert wrong.err == (
        "error: COMMS_PRICES: 'sms:twilio=cheap' is no price; write e.g. sms:twilio=0.0083 USD. "
        "Set COMMS_PRICES in the environment or in .env\n"
    )


def test_without_limits_the_providers_decide(rink: Rink) -> None:
    printed = rink.plan()
    assert "What it waits for longest: nothing: as fast as the providers take it" in printed
    assert "Quotas" not in printed
    assert "Tier" not in printed


def test_a_rate_that_binds_is_named(rink: Rink) -> None:
    assert "What it waits for longest: rate of sms:twilio: 0.5 messages a second" in rink.plan(
        COMMS_RATES="sms:twilio=0.5/1"
    )


def test_a_quota_tells_when_the_last_message_would_go(
    rink: Rink, quota: Callable[[str, str, int], None]
) -> None:
    quota("organisation:ice-rink", "day", 6)
    quota("lane:sms:twilio", "hour", 100)
    quota("lane:email:resend", "day", 1)
    before = datetime.now(UTC)
    printed = rink.plan()
    now = {moment.date() for moment in (before, datetime.now(UTC))}
    rows = rink.table(printed, "Quotas")
    # 6 today, 6 tomorrow, 2 on the day after.
    ends = {f"{day + timedelta(days=2)} 00:00 UTC" for day in now}
    assert [row[:4] for row in rows] == [
        ["lane:sms:twilio", "hour", "100", "0"],
        ["organisation:ice-rink", "day", "6", "0"],
    ]
    assert rows[1][4] in ends
    (finish,) = re.findall(r"The last message would go (.*? UTC)\. What it waits for longest: (.*)", printed)
    assert finish[0] in ends
    assert finish[1] == "organisation:ice-rink: 6 messages per day"


def test_a_quota_of_none_never_ends(rink: Rink, quota: Callable[[str, str, int], None]) -> None:
    quota("organisation:ice-rink", "hour", 0)
    assert (
        "The last message would not go within a year. "
        "What it waits for longest: organisation:ice-rink: 0 messages per hour"
    ) in rink.plan()


def test_a_tier_says_how_many_recipients_it_allows(rink: Rink) -> None:
    rink.apply(organisation={"tier": "free"})
    printed = rink.plan()
    assert "Tier free: at most 100 recipients of one campaign; this plan has 14, within it" in printed
    assert [row[:3] for row in rink.table(printed, "Quotas")] == [
        ["organisation:ice-rink", "day", "200"],
        ["organisation:ice-rink", "hour", "50"],
    ]


def test_a_warm_up_is_a_limit_for_days_to_come(rink: Rink) -> None:
    start = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%d}"
    printed = rink.plan(COMMS_WARM_UP=f"email:sendgrid={start}")
    (row,) = rink.table(printed, "Quotas")
    assert row == ["warm-up:email:sendgrid", "day", "0", "0", f"{start} 00:00 UTC"]


def test_what_is_deferred_is_shown_by_the_local_hour(rink: Rink) -> None:
    # Three days from now by the guests' clock: no midnight in between can matter.
    opens = datetime.now(UTC) - timedelta(hours=5) + timedelta(days=3)
    others = [day for day in DAYS if day != DAYS[opens.weekday()]]
    rink.apply(
        **{"class": "marketing"}, channels=["email"], hours={"open": "14:00-16:00", "days_off": others}
    )
    printed = rink.plan()
    rows = rink.table(printed, "Going out later, by the hour on the recipients' clocks")
    assert [row[1:] for row in rows] == [["10", "10"]]
    assert rows[0][0] == f"{opens:%Y-%m-%d} 14:00"
    assert "What it waits for longest: times at which messages are due" in printed


def test_caps_say_whom_they_keep_from_it(rink: Rink) -> None:
    rink.apply(
        **{"class": "marketing"},
        channels=["email"],
        organisation={"caps": [{"channel": "email", "messages": 1, "days": 7}]},
    )
    with rink.comms.stores.lake.writer() as writer:
        writer.cursor.execute(
            "insert into campaign.sends by name select 'before' as send_id, 'before' as campaign_id, 1 as version, "
            "'ice-rink' as organisation_id, 'marketing' as message_class, now() as due_at"
        )
        writer.cursor.execute(
            "insert into campaign.messages by name "
            "select 'before' as send_id, 0 as generation, md5(contact_id) as message_id, contact_id, "
            "'email' as channel, 'email:sendgrid' as lane, '' as variant, 0.5 as score, now() as due_at, "
            "now() as planned_at from core.contacts where external_id in ('G1', 'G2', 'G3')"
        )
    try:
        printed = rink.plan()
    finally:
        with rink.comms.stores.lake.writer() as writer:
            writer.erase("campaign.sends", "send_id", ["before"])
            writer.erase("campaign.messages", "send_id", ["before"])
    assert "Excluded by frequency caps: 3" in printed
    assert rink.table(printed, "opening: 14 contacts in the audience")[:2] == [
        ["excluded", "7"],
        ["message by email", "7"],
    ]


def test_the_compliance_score_is_part_of_the_plan(rink: Rink) -> None:
    assert re.search(r"Compliance score: \d+ of 100", rink.plan())


def test_a_plan_of_nothing_says_so(rink: Rink) -> None:
    rink.apply(audience={"field": "name", "op": "eq", "value": "nobody"})
    assert "Nothing would be sent" in rink.plan()


def test_an_unknown_campaign_is_one_line(rink: Rink) -> None:
    unknown = rink.comms("campaigns", "plan", "closing")
    assert unknown.code == 1
    assert unknown.err.startswith("error: campaign closing: it has not been applied.")
