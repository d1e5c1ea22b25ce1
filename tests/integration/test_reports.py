"""A send's report: a page of its own, true to the lake, harmless whatever campaigns and links say."""

from datetime import UTC, datetime
from html.parser import HTMLParser

import polars as pl
import pytest
from audiences import Club, people

from comms_pipeline.domain.errors import NotFound
from comms_pipeline.loader.models import rebuild
from comms_pipeline.reports.campaign import render_report, write_report

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)


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


def event(club: Club, number: int, message_id: str, kind: str, **fields: object) -> dict[str, object]:
    return {
        "event_id": f"{club.id}-{number}",
        "message_id": message_id,
        "send_id": club.id,
        "provider": "sendgrid",
        "kind": kind,
        "occurred_at": NOON.replace(second=number),
        "received_at": NOON,
        "verdict": "human" if kind in {"opened", "clicked"} else "unknown",
    } | fields


def happen(club: Club, *acts: tuple[int, str, dict[str, object]]) -> None:
    """Events of the club's messages, (message's number, kind, fields), a second apart."""
    ids = [
        row[0]
        for row in club.rows("select message_id from campaign.messages where send_id = $id order by all")
    ]
    rows = [event(club, n, ids[message], kind, **fields) for n, (message, kind, fields) in enumerate(acts)]
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
        writer.append("core.events", pl.DataFrame(rows, infer_schema_length=None))
        writer.append("core.outcomes", outcomes)
    rebuild(club.stores, "mart.campaign_performance")


def test_a_report_of_a_send_that_has_not_gone_out_shows_its_plan(club):
    path = write_report(club.stores, club.id)
    page = Page(path.read_text(encoding="utf-8"))

    assert path == club.stores.settings.reports_path / f"{club.id}.html"
    assert (
        "6 contacts = 5 messages + 1 excluded. 5 messages = 0 accepted + 0 refused + 0 deferred + 0 cancelled "
        "+ 0 unknown + 5 waiting."
    ) in page.text()
    assert "address-present no valid address for this channel 1" in page.text()
    assert "Delivered –" in page.text()
    for heading in ("Why messages were refused", "When people opened and clicked", "Links"):
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

    page = Page(write_report(club.stores, club.id).read_text(encoding="utf-8"))

    assert "5 messages = 4 accepted + 1 refused" in page.text()
    for figure in (
        "Accepted 4",
        "Delivered 50.0%",
        "Opened by people 50.0%",
        "Clicked 50.0%",
        "Unsubscribed 0",
    ):
        assert figure in page.text()
    assert "email – 5 4 2 0 2 1 1 0 50.0% 50.0% 50.0%" in page.text()
    assert "https://a.example/?x=1&y=2 1 1" in page.text()
    assert "invalid <b>550</b> 1" in page.text()
    # Acts at seconds 2, 3 and 5, and a quiet one in between.
    for moment in ("01 Dec 12:00:02: 1", "01 Dec 12:00:03: 1", "01 Dec 12:00:04: 0", "01 Dec 12:00:05: 1"):
        assert moment in page.text()


def test_a_long_time_course_has_no_more_than_48_steps_and_loses_nobody(club):
    days = [NOON.replace(day=day, hour=hour) for day in range(1, 29) for hour in (1, 13)]
    happen(club, *((0, "opened", {"occurred_at": day}) for day in days))

    page = Page(write_report(club.stores, club.id).read_text(encoding="utf-8"))

    bars = [word for word in page.words if " Dec " in word and ": " in word]
    assert len(bars) == 48
    assert sum(int(bar.rpartition(": ")[2]) for bar in bars) == 56


HOSTILE = "\"><script>alert('x')</script><img src=https://evil.example/x>"


def test_hostile_words_are_shown_and_do_nothing(club):
    happen(club, (0, "clicked", {"url": f"https://a.example/{HOSTILE}"}), (0, "opened", {}))
    with club.stores.lake.writer() as writer:
        for table in (
            "campaign.sends",
            "campaign.audiences",
            "campaign.messages",
            "core.events",
            "core.outcomes",
        ):
            writer.cursor.execute(
                f"update {table} set send_id = $new where send_id = $id", {"new": HOSTILE, "id": club.id}
            )
        writer.cursor.execute(
            "update mart.campaign_performance set send_id = $new, variant = $new where send_id = $id",
            {"new": HOSTILE, "id": club.id},
        )
        writer.cursor.execute(
            "update campaign.sends set campaign_id = $new where send_id = $new", {"new": HOSTILE}
        )
    with club.stores.lake.reader() as cursor:
        text = render_report(cursor, HOSTILE, now=NOON)

    page = Page(text)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert page.loads == []
    assert page.text().count(HOSTILE) == 5
    assert "default-src 'none'" in text
    with club.stores.lake.writer() as writer:
        for table in (
            "campaign.sends",
            "campaign.audiences",
            "campaign.messages",
            "core.events",
            "core.outcomes",
        ):
            writer.erase(table, "send_id", [HOSTILE])


def test_a_send_nobody_planned_has_no_report(shared_stores):
    with pytest.raises(NotFound, match=r"send \.\./nowhere: it was never planned"):
        write_report(shared_stores, "../nowhere")
