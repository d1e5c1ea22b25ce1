"""Forms of the preference centre: what they say, what is a mistake, and what no page of ours can have sent."""

from datetime import date
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from comms_pipeline.domain.message import Channel
from comms_pipeline.web.forms import CONTENT_TYPE, Action, Mistake, Submitted, read_form
from comms_pipeline.web.subscription import Cell

NEWS, OTHERS = Cell(Channel.EMAIL, "news"), Cell(Channel.SMS, "*")
CAPS = [1, 2, 3]
SAVE = [
    ("version", "v1"),
    ("shown", "email/news"),
    ("shown", "sms/*"),
    ("wanted", "sms/*"),
    ("quiet_from", "22:00"),
    ("quiet_until", "07:30"),
    ("weekly_cap", "3"),
    ("action", "save"),
]


def read(body: bytes | list[tuple[str, str]], content_type: str | None = CONTENT_TYPE) -> Submitted:
    raw = body if isinstance(body, bytes) else urlencode(body).encode()
    return read_form(content_type, raw, [NEWS, OTHERS], CAPS)


def saved(**changed: str) -> list[tuple[str, str]]:
    return [(name, changed.get(name, value)) for name, value in SAVE]


def test_a_form_says_what_is_wanted_when_and_how_often():
    assert read(SAVE) == Submitted(
        action=Action.SAVE,
        version="v1",
        wanted={NEWS: False, OTHERS: True},
        quiet=(1320, 450),
        entered=("22:00", "07:30"),
        weekly_cap=3,
    )


def test_empty_fields_are_no_wishes():
    form = read(saved(quiet_from="", quiet_until=" ", weekly_cap=""))
    assert (form.quiet, form.weekly_cap, form.mistake) == (None, None, None)


def test_a_form_without_a_box_that_can_be_ticked_is_one_too():
    assert read([field for field in SAVE if field[0] not in {"shown", "wanted"}]).wanted == {}


@pytest.mark.parametrize(
    ("start", "end", "quiet", "mistake"),
    [
        ("22:00", "", None, Mistake.QUIET_BOTH),
        ("", "07:00", None, Mistake.QUIET_BOTH),
        ("9 pm", "07:00", None, Mistake.QUIET_FORM),
        ("24:00", "07:00", None, Mistake.QUIET_FORM),
        ("٢٢:٠٠", "07:00", None, Mistake.QUIET_FORM),
        ("07:00", "7.00", None, Mistake.QUIET_SAME),
        ("00:00", "23:59", (0, 1439), None),
        (" 9:05 ", "21.30", (545, 1290), None),
        ("21:30:00", "07:00:00", (1290, 420), None),
    ],
)
def test_times_are_read_as_people_write_them(
    start: str, end: str, quiet: tuple[int, int] | None, mistake: Mistake | None
):
    form = read(saved(quiet_from=start, quiet_until=end))
    assert (form.quiet, form.mistake, form.entered) == (quiet, mistake, (start, end))


def test_the_other_buttons_say_little():
    pause = [("action", "pause"), ("version", "v1"), ("until", "2026-12-24")]
    assert read(pause) == Submitted(action=Action.PAUSE, version="v1", until=date(2026, 12, 24))
    assert read([("action", "resume"), ("version", "v1")]).action is Action.RESUME
    assert read([("action", "stop")]) == Submitted(action=Action.STOP)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"action",
        b"action=",
        b"action=erase",
        b"action=stop&action=stop",
        b"action=stop&organisation=other",
        b"\xff\xfe=\x00",
        b"action=%ff",
        b"action=pause&version=v1&until=tomorrow",
        b"action=pause&version=v1",
        b"&".join([b"a=b"] * 5000),
        SAVE[:-1],
        SAVE[1:],
        [*SAVE, ("version", "v2")],
        [*SAVE, ("subject", "00")],
        [*SAVE, ("shown", "email/news")],
        [*SAVE, ("shown", "whatsapp/news"), ("wanted", "whatsapp/news")],
        [field for field in SAVE if field != ("shown", "sms/*")],
        saved(weekly_cap="1000"),
        saved(weekly_cap="-1"),
        saved(weekly_cap="03"),
        saved(action="SAVE"),
    ],
)
def test_what_no_page_of_ours_sends_is_refused(body: bytes | list[tuple[str, str]]):
    with pytest.raises(HTTPException) as refused:
        read(body)
    assert refused.value.status_code == 422


@pytest.mark.parametrize("content_type", [None, "", "application/json", "multipart/form-data; boundary=x"])
def test_another_content_type_is_refused(content_type: str | None):
    with pytest.raises(HTTPException) as refused:
        read(SAVE, content_type)
    assert refused.value.status_code == 415


def test_a_content_type_may_have_parameters():
    assert read(SAVE, "Application/X-WWW-Form-URLencoded; charset=UTF-8").action is Action.SAVE


@given(st.binary() | st.lists(st.tuples(st.sampled_from([*dict(SAVE)]), st.text())))
def test_no_body_breaks_the_reader(body: bytes | list[tuple[str, str]]):
    raw = body if isinstance(body, bytes) else urlencode(body, errors="surrogatepass").encode()
    try:
        wanted = set(read(raw).wanted)
    except HTTPException as refused:
        wanted = set() if refused.status_code == 422 else {refused}
    assert wanted <= {NEWS, OTHERS}
