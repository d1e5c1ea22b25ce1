"""A send's report and an organisation's week: true to the lake, and sensible when there is little or nothing."""

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import polars as pl
import pytest
from audiences import DUE, Club, people

from comms_pipeline.domain.errors import NotFound
from comms_pipeline.loader.message_status import refresh_message_status
from comms_pipeline.loader.models import refresh
from comms_pipeline.loader.watermarks import Mark, move_marks, next_load_id
from comms_pipeline.reports.campaign import report_path, send_report, write_report
from comms_pipeline.reports.digest import organisations, write_digest
from comms_pipeline.reports.rendering import html_of
from comms_pipeline.reports.weeks import parse_week

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
WEEK = parse_week("2026-W49")
"""The week of the club's send."""
_MODELS = (
    "core.message_counts",
    "core.send_audience",
    "mart.campaign_performance",
    "mart.send_funnel",
    "mart.costs",
    "mart.exclusions",
    "mart.deliverability",
    "mart.list_growth",
    "mart.send_time_heatmap",
)


class Page(HTMLParser):
    """The words of a page, its tags, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in {"src", "href", "action"}]

    def handle_data(self, data: str) -> None:
        self.words.append(" ".join(data.split()))

    def text(self) -> str:
        return " ".join(word for word in self.words if word)


@pytest.fixture
def club(shared_stores, tmp_path) -> Club:
    club = Club.founded(shared_stores, tmp_path)
    club.enrol([*people(5), {"phone": "+12125550101", "name": "Phone only"}])
    club.announce()
    club.plan()
    return club


def page_of(club: Club) -> Page:
    return Page(write_report(club.stores, club.id).html.read_text(encoding="utf-8"))


def digest_of(club: Club) -> Page:
    return Page(write_digest(club.stores, club.id, WEEK).html.read_text(encoding="utf-8"))


def refresh_models(club: Club) -> None:
    refresh_message_status(club.stores)
    for model in _MODELS:
        refresh(club.stores, model)


def happen(club: Club, *acts: tuple[int, str, dict[str, object]]) -> None:
    """Events of the club's messages, (message's number, kind, fields), a second apart; the fifth is refused."""
    ids = [
        row[0]
        for row in club.rows("select message_id from campaign.messages where send_id = $id order by all")
    ]
    rows = [
        {
            "event_id": f"{club.id}-{number}",
            "message_id": ids[message],
            "send_id": club.id,
            "channel": "email",
            "provider": "sendgrid",
            "kind": kind,
            "occurred_at": NOON.replace(second=number % 60),
            "received_at": NOON,
            "verdict": "human" if kind in {"opened", "clicked"} else "unknown",
        }
        | fields
        for number, (message, kind, fields) in enumerate(acts)
    ]
    outcomes = pl.DataFrame(
        {
            "outcome_id": range(1, 6),
            "batch_id": 1,
            "send_id": club.id,
            "message_id": ids,
            "status": ["accepted"] * 4 + ["refused"],
            "reason": [None] * 4 + ["invalid"],
            "code": [None] * 4 + ["<b>550</b>"],
            "provider": "sendgrid",
            "recorded_at": NOON,
        }
    )
    with club.stores.lake.writer() as writer:
        load = next_load_id(writer)
        for name, frame in (
            ("core.events", pl.DataFrame(rows, infer_schema_length=None)),
            ("core.outcomes", outcomes),
        ):
            writer.append(name, frame.with_columns(load_id=pl.lit(load)))
        move_marks(writer, {Mark.LOADS: load}, NOON)
    refresh_models(club)


def change(club: Club, statement: str, **parameters: Any) -> None:
    with club.stores.lake.writer() as writer:
        writer.cursor.execute(statement, parameters)


def test_a_report_of_a_send_that_has_not_gone_out_shows_its_plan(club):
    written = write_report(club.stores, club.id)
    page = page_of(club)

    assert written.html == club.stores.settings.reports_path / f"{club.id}.html"
    assert written.html == report_path(club.stores, club.id)
    assert written.pdf is not None
    assert written.pdf.read_bytes().startswith(b"%PDF-")
    assert (
        "6 contacts = 5 messages + 1 excluded. 5 messages = 0 accepted + 0 refused + 0 deferred + 0 cancelled "
        "+ 0 unknown + 5 waiting."
    ) in page.text()
    assert "No valid address for the channel Import a valid address for this channel 1 1" in page.text()
    assert "address-present no valid address for this channel 1" in page.text()
    assert "Delivered –" in page.text()
    assert "Not reconciled yet" in page.text()
    assert "5 messages are still open: the figures will change." in page.text()
    for heading in (
        "Why messages were refused",
        "When people opened",
        "Links",
        "Experiment",
        "Where messages",
    ):
        assert heading not in page.text()


def test_a_report_shows_what_people_did(club):
    happen(
        club,
        (0, "delivered", {}),
        (1, "delivered", {}),
        (0, "opened", {}),
        (0, "opened", {}),
        (1, "opened", {"verdict": "machine"}),
        (0, "clicked", {"url": "https://a.example/?x=1&y=2"}),
    )

    text = page_of(club).text()

    assert "5 messages = 4 accepted + 1 refused" in text
    for figure in (
        "Accepted 4 66.7% of the audience",
        "Delivered 50.0% nothing earlier to compare with",
        "Opened by people 50.0%",
        "Clicked by people 50.0%",
        "Unsubscribed 0.0%",
        "email – 5 4 2 · 50.0% 1 · 50.0% 1 · 50.0% 0 · 0.0%",
        "https://a.example/?x=1&y=2 1 1",
        "invalid <b>550</b> 1",
        "1 Dec 12:00 1 1",
        "Tue 12:00 1",
        "people.example email 4 50.0% 0.0% 0",
        "email:sendgrid 5 4 – – – 0 0.00 –",
        "No price is set for email:sendgrid (COMMS_PRICES).",
        "1 message of 2 opened (50.0%) were opened by machines alone",
        "Only 2 messages were delivered.",
        "There are 0 earlier sends through the same channels: hardly a comparison.",
    ):
        assert figure in text


def test_a_report_tells_whether_the_books_balance(club):
    happen(club, (0, "delivered", {}))
    books = {
        "send_id": club.id,
        "planned": 5,
        "accepted": 4,
        "refused": 1,
        **dict.fromkeys(("deferred", "cancelled", "unknown", "waiting", "contradicted", "held"), 0),
        "confirmed": 1,
        "enqueued": 5,
        "is_balanced": True,
        "reconciled_at": NOON,
    }
    with club.stores.lake.writer() as writer:
        writer.append("campaign.reconciliations", pl.DataFrame([books]))
    agreed = page_of(club).text()
    change(club, "update campaign.reconciliations set is_balanced = false where send_id = $id", id=club.id)
    disputed = page_of(club).text()

    assert "5 planned = 4 accepted + 1 refused + 0 deferred" in agreed
    assert "Plan, ledger and the providers' record agree." in agreed
    assert "Reconciled 1 December 2026, 12:00 UTC." in agreed
    assert "They do not agree: see the check is_balanced" in disputed


def test_a_send_is_compared_with_earlier_ones_through_the_same_channels(club):
    happen(club, (0, "delivered", {}), (1, "delivered", {}), (0, "opened", {}))
    for name, channel, days, opened in (
        ("older", "email", -7, 90),
        ("old", "email", -3, 70),
        ("later", "email", 3, 1),
        ("text", "sms", -3, 2),
    ):
        change(
            club,
            "insert into mart.campaign_performance by name "
            "select * replace ($name as send_id, $channel as channel, due_at + to_days($days) as due_at, "
            "100 as messages, 100 as accepted, 100 as delivered, $opened as human_opened) "
            "from mart.campaign_performance where send_id = $id",
            name=f"{name}-{club.id}",
            channel=channel,
            days=days,
            opened=opened,
            id=club.id,
        )
    text = page_of(club).text()

    assert "Opened by people 50.0% as usual: the median of 2 earlier sends, 80.0%" in text
    assert "There are 2 earlier sends through the same channels: hardly a comparison." in text


def test_contacts_erased_since_are_counted_and_named_nowhere(club):
    happen(club, (0, "delivered", {}), (0, "opened", {}))
    change(
        club,
        "update core.contacts set email = null, phone = null, name = null, time_zone = null, is_erased = true "
        "where organisation_id = $id",
        id=club.id,
    )
    text = page_of(club).text()

    # The domain it was planned for, which many share, tells of nobody.
    assert "people.example email 4 25.0% 0.0% 0" in text
    assert "@people.example" not in text


def test_a_long_time_course_has_no_more_than_72_steps_and_loses_nobody(club):
    happen(
        club,
        *((n, "delivered", {}) for n in range(4)),
        *((n, "opened", {"occurred_at": NOON + timedelta(days=n * 9)}) for n in range(4)),
    )

    page = page_of(club)
    assert "Opens and clicks by people, per 12 hours" in page.text()
    shown = [word for word in page.words if word.endswith(" opened") and " Dec " in word]
    assert len(shown) == 8  # Four steps, drawn for wide and for narrow windows.


HOSTILE = "\"><script>alert('x')</script><img src=https://evil.example/x>"


def test_hostile_words_are_shown_and_do_nothing(club):
    happen(
        club,
        (0, "delivered", {}),
        (0, "clicked", {"url": f"https://a.example/{HOSTILE}"}),
        (0, "opened", {}),
    )
    tables = (
        "campaign.sends",
        "campaign.audiences",
        "campaign.messages",
        "core.events",
        "core.outcomes",
        "core.message_status",
        "mart.campaign_performance",
        "mart.costs",
    )
    for table in tables:
        change(club, f"update {table} set send_id = $new where send_id = $id", new=HOSTILE, id=club.id)
    change(club, "update mart.campaign_performance set variant = $new where send_id = $new", new=HOSTILE)
    change(club, "update campaign.sends set campaign_id = $new where send_id = $new", new=HOSTILE)
    try:
        with club.stores.lake.reader() as cursor:
            text = html_of(send_report(cursor, HOSTILE, test=None, now=NOON))
    finally:
        with club.stores.lake.writer() as writer:
            for table in tables:
                writer.erase(table, "send_id", [HOSTILE])

    page = Page(text)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert page.loads == []
    assert page.text().count(HOSTILE) == 5
    assert "default-src 'none'" in text


def test_a_send_nobody_planned_has_no_report(shared_stores):
    with pytest.raises(NotFound, match=r"send \.\./nowhere: it was never planned"):
        write_report(shared_stores, "../nowhere")


def test_a_digest_of_a_week_without_anything_says_so(shared_stores, tmp_path):
    club = Club.founded(shared_stores, tmp_path)
    written = write_digest(club.stores, club.id, WEEK)
    text = Page(written.html.read_text(encoding="utf-8")).text()

    assert written.html == club.stores.settings.reports_path / f"weekly/{club.id}-2026-W49.html"
    assert written.pdf is not None
    assert "Founding, week 49" in text
    assert "30 November to 6 December 2026 (UTC)" in text
    assert "Messages accepted 0 in 0 sends" in text
    assert "Delivered –" in text
    assert "No send went out this week." in text
    assert "Nothing conspicuous." in text
    assert club.id not in organisations(club.stores)


def test_a_digest_tells_of_the_week_and_of_nobody_else(club):
    happen(
        club,
        (0, "delivered", {}),
        (1, "delivered", {}),
        (2, "bounced", {}),
        (0, "opened", {}),
        (0, "clicked", {"url": "https://a.example/"}),
        (1, "unsubscribed", {}),
    )

    text = digest_of(club).text()

    assert "The Club, week 49" in text
    for part in (
        "Messages accepted 4 in 1 send",
        "List growth −2 4 contacts now",
        "Tue 1 Dec 0 1 0 1 0 −2 Wed 2 Dec 0 0 0 0 0 0",
        "Delivered 50.0%",
        "email: 25.0% bounced; keep it below 2.0%.",
        f"{club.id} email 4 50.0% 50.0% 50.0% 50.0%",
        "people.example email 4 50.0% 25.0% 0",
        "No valid address for the channel Import a valid address for this channel 1 1",
    ):
        assert part in text
    assert club.id in organisations(club.stores)


def test_a_digest_sets_sends_beside_those_of_the_eight_weeks_before(club):
    happen(club, (0, "delivered", {}), (1, "delivered", {}), (2, "delivered", {}), (3, "delivered", {}))
    for name, weeks in (("a", 1), ("b", 2), ("c", 8), ("d", 9)):
        parameters = {"new": f"{name}-{club.id}", "id": club.id, "weeks": weeks}
        change(
            club,
            "insert into campaign.sends by name "
            "select * replace ($new as send_id, due_at - to_weeks($weeks) as due_at) "
            "from campaign.sends where send_id = $id",
            **parameters,
        )
        change(
            club,
            "insert into mart.campaign_performance by name select * replace ($new as send_id, "
            "due_at - to_weeks($weeks) as due_at, 4 - $weeks % 4 as delivered) "
            "from mart.campaign_performance where send_id = $id",
            **parameters,
        )
    text = digest_of(club).text()

    assert "Delivered 100.0% as usual: the median of 3 earlier weeks, 75.0%" in text
    assert f"{club.id} email 4 100.0% (+25.0)" in text


def test_a_digest_of_an_organisation_nobody_knows_is_refused(shared_stores):
    with pytest.raises(NotFound, match="organisation nobody: it is not known"):
        write_digest(shared_stores, "nobody", WEEK)


def test_the_clubs_send_is_of_that_week():
    assert WEEK.begins <= DUE < WEEK.ends
