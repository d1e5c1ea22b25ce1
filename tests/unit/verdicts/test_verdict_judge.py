"""What becomes of opens and clicks: each rule by a table, and what must hold whatever the events."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comms_pipeline.verdicts.judge import EVENTS, VERDICTS, judge
from comms_pipeline.verdicts.rules_file import load_verdict_rules

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Safari/537.36"
)
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
RULES = load_verdict_rules()
Event = dict[str, Any]


def event(kind: str, seconds: float = 3600.0, **told: Any) -> Event:
    """An event so many seconds after noon; unless told otherwise of message m, by Chrome."""
    at = NOON + timedelta(seconds=seconds)
    plain = {
        "message_id": "m",
        "contact_id": "c",
        "user_agent": CHROME,
        "received_at": at + timedelta(seconds=1),
    }
    return {"kind": kind, "occurred_at": at} | plain | told


DELIVERED = event("delivered", 0)
OPENED = event("opened", 60)


def frame(events: list[Event]) -> pl.DataFrame:
    rows = [{"event_id": f"e{place}"} | told for place, told in enumerate(events)]
    return pl.DataFrame(rows, schema=dict(EVENTS))


def judged(*events: Event) -> list[tuple[str, float | None, list[str] | None]]:
    """Verdict, score and reasons, event by event."""
    found = judge(frame(list(events)), RULES)
    assert found.schema == pl.Schema(VERDICTS)
    return found.select("verdict", "verdict_score", "verdict_reasons").rows()


def first(*events: Event) -> tuple[str, float | None, list[str]]:
    verdict, score, reasons = judged(*events)[0]
    return verdict, score, reasons or []


@pytest.mark.parametrize(
    ("told", "others", "verdict", "score", "reasons"),
    [
        (event("opened"), [DELIVERED], "human", 0.0, []),
        (event("clicked", url="a"), [DELIVERED, OPENED], "human", 0.0, []),
        (event("opened", is_told_machine=True), [], "machine", 0.95, ["told-machine"]),
        (event("clicked", is_head=True), [OPENED], "machine", 1.0, ["head-request"]),
        (event("opened", is_prefetch=True), [], "machine", 0.95, ["prefetch"]),
        (event("opened", user_agent="curl/8.5.0"), [], "machine", 0.9, ["crawler-agent"]),
        (event("clicked", user_agent="WhatsApp/2.23.20"), [OPENED], "machine", 0.9, ["crawler-agent"]),
        (event("clicked", user_agent="BarracudaCentral"), [OPENED], "machine", 0.95, ["scanner-agent"]),
        (event("opened", user_agent=GMAIL), [DELIVERED], "human", 0.0, ["image-proxy"]),
        (event("opened", 1.5, user_agent=GMAIL), [DELIVERED], "unknown", 0.525, ["open-on-delivery", "image-proxy"]),
        (event("opened", user_agent="Mozilla/5.0"), [], "proxy", 0.97, ["privacy-proxy"]),
        (event("clicked", user_agent="Mozilla/5.0"), [OPENED], "human", 0.0, []),
        (
            event("opened", user_agent="Mozilla/5.0", is_told_machine=True),
            [],
            "proxy",
            0.9985,
            ["told-machine", "privacy-proxy"],
        ),
        (
            event("opened", user_agent="Mozilla/5.0", is_head=True),
            [],
            "machine",
            1.0,
            ["head-request", "privacy-proxy"],
        ),
        (event("opened", user_agent=None), [], "human", 0.0, []),
        # Seconds after delivery.
        (event("opened", 1.999), [DELIVERED], "machine", 0.75, ["open-on-delivery"]),
        (event("opened", 2.0), [DELIVERED], "human", 0.0, []),
        (event("clicked", 4.999), [DELIVERED, OPENED], "machine", 0.8, ["click-on-delivery"]),
        (event("clicked", 5.0), [DELIVERED, OPENED], "human", 0.0, []),
        (event("clicked", -60.0), [DELIVERED, OPENED], "machine", 0.8, ["click-on-delivery"]),
        (event("clicked", -60.1), [DELIVERED, OPENED], "human", 0.0, []),
        (event("clicked", 4.0), [event("delivered", 0, message_id="other"), OPENED], "human", 0.0, []),
        # The first delivery counts, and only one whose time the provider told.
        (event("clicked", 604.0), [event("delivered", 600), DELIVERED, OPENED], "human", 0.0, []),
        (event("clicked", 4.0), [DELIVERED | {"received_at": NOON}, OPENED], "human", 0.0, []),
        # A click without an open, which machines' opens do not stand in for.
        (event("clicked"), [DELIVERED], "human", 0.2, ["click-without-open"]),
        (event("clicked"), [OPENED | {"is_told_machine": True}], "human", 0.2, ["click-without-open"]),
        (event("clicked"), [OPENED | {"message_id": "other"}], "human", 0.2, ["click-without-open"]),
        (event("clicked", 4.0), [DELIVERED], "machine", 0.84, ["click-on-delivery", "click-without-open"]),
        # The trap, by whoever, a minute around it.
        (event("clicked", 160.0), [event("trap", 100.0), event("opened", 3000)], "machine", 0.95, ["trap"]),
        (event("clicked", 40.0), [event("trap", 100.0), event("opened", 3000)], "machine", 0.95, ["trap"]),
        (event("opened", 100.0), [event("trap", 100.0), event("trap", 500.0)], "machine", 0.95, ["trap"]),
        (event("clicked", 160.1), [event("trap", 100.0), event("opened", 3000)], "human", 0.0, []),
        # The same client as the trap's, by address and program, at any time.
        (
            event("clicked", 90_000, ip_key="k"),
            [event("trap", 100.0, ip_key="k"), event("opened", 3000)],
            "machine",
            0.99,
            ["trapped-client"],
        ),
        (
            event("clicked", 90_000, ip_key="k"),
            [event("trap", 100.0, ip_key="k", user_agent="Gateway"), event("opened", 3000)],
            "human",
            0.0,
            [],
        ),
        (
            event("clicked", 90_000, ip_key="k"),
            [event("trap", 100.0, ip_key="j"), event("opened", 3000)],
            "human",
            0.0,
            [],
        ),
        (event("clicked", 100.0), [event("trap", 100.0, message_id="other"), event("opened", 3000)], "human", 0.0, []),
    ],
)  # fmt: skip
def test_evidence_makes_a_score_and_a_verdict(told, others, verdict, score, reasons):
    assert first(told, *others) == (verdict, score, reasons)


def test_what_is_neither_open_nor_click_is_unknown_without_a_score():
    kinds = ["delivered", "trap", "bounced", "unsubscribed", "unknown"]
    assert judged(*(event(kind) for kind in kinds)) == [("unknown", None, None)] * 5
    assert judged() == []


def test_every_verdict_carries_the_version_of_its_rules():
    found = judge(frame([OPENED, DELIVERED]), RULES)
    assert found["verdict_version"].to_list() == [RULES.version, None]


def clicks(*seconds_and_urls: tuple[float, str], **told: Any) -> list[Event]:
    return [event("clicked", 1000 + seconds, url=url, **told) for seconds, url in seconds_and_urls]


@pytest.mark.parametrize(
    ("burst", "suspected"),
    [
        ([(0, "a"), (1, "b"), (2, "c")], [True, True, True]),
        ([(0, "a"), (1, "b"), (2.001, "c")], [False, False, False]),
        ([(0, "a"), (1, "b"), (2, "a")], [False, False, False]),
        ([(0, "a"), (1.5, "b"), (2, "c"), (3.5, "a")], [True, True, True, True]),
        ([(0, "a"), (0, "b"), (0, "c"), (2.5, "d")], [True, True, True, False]),
        ([(0, "a"), (0, "b"), (500, "c")], [False, False, False]),
    ],
)
def test_three_links_within_two_seconds_are_a_burst_the_first_of_them_too(burst, suspected):
    found = judged(*clicks(*burst), OPENED)
    assert [reasons == ["link-burst"] for _, _, reasons in found[:-1]] == suspected


def test_a_burst_is_of_one_message():
    told = [event("clicked", 1000, url=url, message_id=url) for url in "abc"]
    assert [reasons for _, _, reasons in judged(*told)] == [["click-without-open"]] * 3


def test_five_links_within_thirty_seconds_are_a_sweep():
    swept = clicks((0, "a"), (7, "b"), (14, "c"), (21, "d"), (30, "e"))
    assert {verdict for verdict, _, _ in judged(*swept, OPENED)[:-1]} == {"machine"}
    assert {verdict for verdict, _, _ in judged(*swept[:4], OPENED)} == {"human"}


def test_a_person_who_comes_after_the_scanner_is_a_person():
    later = event("clicked", 90_000, url="a")
    found = judged(*clicks((0, "a"), (0, "b"), (0, "c")), event("trap", 1000), OPENED, later)
    assert [verdict for verdict, _, _ in found] == ["machine"] * 3 + ["unknown", "human", "human"]


def by_one_client(count: int, apart: float, **told: Any) -> list[Event]:
    """A click and an open each in messages of as many contacts, by one client, the next so many seconds later."""
    people = [{"message_id": f"m{number}", "contact_id": f"c{number}"} for number in range(count)]
    found = [
        event("clicked", 1000 + number * apart, ip_key="k", **who | told) for number, who in enumerate(people)
    ]
    return found + [event("opened", 10, **who | told) for who in people]


def test_one_client_that_clicks_for_many_recipients_within_a_minute_is_doubted():
    assert judged(*by_one_client(10, 6))[:10] == [("unknown", 0.5, ["shared-address"])] * 10
    assert {verdict for verdict, _, _ in judged(*by_one_client(9, 6))} == {"human"}
    assert {verdict for verdict, _, _ in judged(*by_one_client(10, 7))} == {"human"}
    assert {verdict for verdict, _, _ in judged(*by_one_client(10, 6, contact_id="c"))} == {"human"}


def test_clients_nobody_knows_are_not_one_client():
    nameless = [told | {"ip_key": None} for told in by_one_client(20, 1)]
    assert {verdict for verdict, _, _ in judged(*nameless)} == {"human"}


def test_events_without_a_message_of_ours_are_not_one_message():
    strangers = [event("clicked", 1000, url=url, message_id=None, contact_id=None) for url in "abcdef"]
    assert {tuple(reasons or ()) for _, _, reasons in judged(*strangers)} == {("click-without-open",)}


AGENTS = [None, CHROME, GMAIL, "Mozilla/5.0", "curl/8.5.0"]
EVENT_STRATEGY = st.builds(
    event,
    st.sampled_from(["delivered", "opened", "clicked", "trap"]),
    st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 4.0, 6.0, 20.0, 61.0, 500.0]),
    message_id=st.sampled_from(["m", "n", "o"]),
    contact_id=st.sampled_from(["c", "d"]),
    url=st.sampled_from([None, "a", "b", "c", "d", "e"]),
    user_agent=st.sampled_from(AGENTS),
    ip_key=st.sampled_from([None, "k"]),
    is_head=st.sampled_from([None, False, False, True]),
    is_told_machine=st.sampled_from([None, False, False, True]),
)
LISTS = st.lists(EVENT_STRATEGY, min_size=1, max_size=25)


@given(LISTS, st.randoms(use_true_random=False))
def test_the_order_of_events_does_not_matter(events, random):
    told = frame(events)
    order = list(range(told.height))
    random.shuffle(order)
    shuffled = judge(told[order], RULES)
    assert shuffled.sort("event_id").equals(judge(told, RULES).sort("event_id"))
    assert shuffled["event_id"].to_list() == told[order]["event_id"].to_list()


def suspected(told: Event, how: str) -> Event:
    changes: dict[str, Event] = {
        "told": {"is_told_machine": True},
        "head": {"is_head": True},
        "prefetch": {"is_prefetch": True},
    }
    return told | changes[how]


@given(LISTS, st.data())
def test_more_evidence_of_a_machine_never_lowers_a_score(events, data):
    more = [
        suspected(told, data.draw(st.sampled_from(["told", "head", "prefetch"])))
        if data.draw(st.booleans())
        else told
        for told in events
    ]
    added = [
        event(
            data.draw(st.sampled_from(["trap", "clicked"])),
            data.draw(st.sampled_from([0.0, 1.0, 2.0, 30.0])),
            message_id=told["message_id"],
            contact_id=data.draw(st.sampled_from(["c", "x", "y"])),
            url=data.draw(st.sampled_from("abcdef")),
            ip_key="k",
        )
        for told in events[:3]
    ]
    before = judge(frame(events), RULES)
    after = judge(frame(more + added), RULES)[: len(events)]
    assert before["event_id"].equals(after["event_id"])
    lowered = (after["verdict_score"] < before["verdict_score"]).fill_null(False)
    assert not lowered.any()
    assert before["verdict_score"].is_null().equals(after["verdict_score"].is_null())


@given(LISTS)
def test_scores_and_verdicts_agree(events):
    found = judge(frame(events), RULES).drop_nulls("verdict_score")
    for verdict, score, reasons in found.select("verdict", "verdict_score", "verdict_reasons").iter_rows():
        assert 0 <= score <= 1
        expected = {"human"} if score < 0.4 else {"unknown"} if score < 0.7 else {"machine", "proxy"}
        assert verdict in expected
        assert verdict == "human" or reasons
