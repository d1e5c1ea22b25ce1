"""E-mails as bytes: what Python's own parser reads in them is what was put in, whatever it was."""

import re
from binascii import a2b_qp
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.header import decode_header
from email.message import EmailMessage
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from comms_pipeline.domain.content import Content, Skeleton
from comms_pipeline.providers import mime, mime_text
from comms_pipeline.providers.base import Envelope

SENT_AT = datetime(2025, 3, 1, 12, 30, tzinfo=UTC)
URL = "https://mail.example.org/u/AbC-_123?x=1&y=2"
HOSTILE = [
    "",
    ".",
    "..",
    ".\r\n.\r\n",
    "\r\n.\r\nMAIL FROM:<x@y.example>\r\n",
    "\n.",
    "\r",
    "\n",
    "\r\n",
    "=",
    "=3D=",
    " ",
    "trailing \r\n\t\nspace ",
    "--=_nonce--",
    "From here",
    "naïve 😀 漢字 \u2028\u200b\x0b\x0c\x1c\x85",
    "x" * 999,
    "é" * 499,
    "é" * 500,
    "😀" * 400,
    "y" * 5000,
    "=?utf-8?q?no?=",
    "$1 ${0} \\1",
]
no_nul = st.characters(exclude_characters="\0", exclude_categories=("Cs",))
texts = st.one_of(st.sampled_from(HOSTILE), st.text(no_nul, max_size=40))
lines = st.one_of(
    st.sampled_from([text for text in HOSTILE if not re.search("[\r\n]", text)]),
    st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=("Cs",)), max_size=60),
)
SLOTS = 3
skeletons = st.lists(st.one_of(texts, st.integers(0, SLOTS - 1)), max_size=6).map(tuple)
rows = st.lists(st.lists(texts, min_size=SLOTS, max_size=SLOTS), min_size=1, max_size=3)


def content(**changes: Any) -> Content:
    values = {
        "campaign_id": "spring",
        "parts": {"subject": ("News",), "text": ("Hi",), "html": ("<p>Hi</p>",)},
        "sender": "office@acme.example",
        "sender_name": "Acme",
    }
    return Content(**values | changes)


def envelope(shared: Content, slots: list[list[str]], **columns: list[str]) -> Envelope:
    count = len(slots)
    frame = pl.DataFrame(
        {
            "message_id": [f"{number:032x}" for number in range(count)],
            "address": [f"p{number}@x.example" for number in range(count)],
            "unsubscribe_url": [URL] * count,
        }
        | {f"s{slot}": [row[slot] for row in slots] for slot in range(len(slots[0]))}
        | columns
    )
    return Envelope(batch_id=7, send_id="spring-1", organisation_id="acme", content=shared, recipients=frame)


def received(data: str) -> bytes:
    """What a server keeps of the data (RFC 5321 4.5.2). Fails unless only the very end ends it."""
    body = data.encode()
    assert body.endswith(b"\r\n.\r\n")
    assert body.count(b"\r\n.\r\n") == 1
    kept = body.removesuffix(b".\r\n")
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", kept)
    assert max(map(len, kept.split(b"\r\n"))) <= 998
    return re.sub(rb"^\.", b"", kept, flags=re.MULTILINE)


def read(sent: Envelope, *, takes_8bit: bool = True) -> list[EmailMessage]:
    built = mime.messages(sent, takes_8bit=takes_8bit, sent_at=SENT_AT, nonce="nonce-of-this-test")
    assert built.data.len() == sent.recipients.height
    assert takes_8bit or all(text.isascii() for text in built.data)
    return [message_from_bytes(received(text), policy=policy.default) for text in built.data]


def text_of(part: Any) -> str:
    text: str = part.get_payload(decode=True).decode()
    return text


def expected(skeleton: Skeleton, slots: list[str]) -> str:
    text = "".join(piece if isinstance(piece, str) else slots[piece] for piece in skeleton)
    return re.sub(r"\r\n|\r|\n", "\r\n", text)


@given(text=skeletons, html=skeletons, slots=rows, takes_8bit=st.booleans())
@example(text=("a\r", 0), html=(0, ".b"), slots=[["\n.c", "", ""], ["", "", ""]], takes_8bit=True)
@example(text=("a\r", 0), html=(0, ".b"), slots=[["\n.c", "", ""], ["", "", ""]], takes_8bit=False)
@example(text=(0, 1, 2, ".x"), html=("\n", 0, ".x"), slots=[["", "", ""], ["a", "b\n", ""]], takes_8bit=True)
@settings(max_examples=120, deadline=None)
def test_both_texts_come_back_exactly(
    text: Skeleton, html: Skeleton, slots: list[list[str]], takes_8bit: bool
) -> None:
    text, html = (*text, "t"), ("h", *html)
    sent = envelope(content(parts={"subject": ("News",), "text": text, "html": html}), slots)
    for parsed, row in zip(read(sent, takes_8bit=takes_8bit), slots, strict=True):
        assert parsed.get_content_type() == "multipart/alternative"
        plain, rich = parsed.iter_parts()
        assert (plain.get_content_type(), rich.get_content_type()) == ("text/plain", "text/html")
        assert (text_of(plain), text_of(rich)) == (expected(text, row), expected(html, row))
        assert not plain.defects
        assert not rich.defects


@given(skeleton=skeletons, slots=rows, takes_8bit=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_single_text_comes_back_with_a_line_break_at_its_end(
    skeleton: Skeleton, slots: list[list[str]], takes_8bit: bool
) -> None:
    sent = envelope(content(parts={"subject": ("News",), "text": skeleton}), slots)
    for parsed, row in zip(read(sent, takes_8bit=takes_8bit), slots, strict=True):
        assert parsed.get_content_type() == "text/plain"
        assert text_of(parsed).removesuffix("\r\n") == expected(skeleton, row).removesuffix("\r\n")


@given(subjects=st.lists(lines, min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_subjects_come_back_exactly(subjects: list[str]) -> None:
    sent = envelope(
        content(parts={"subject": (0,), "text": ("t",)}), [[subject, "", ""] for subject in subjects]
    )
    assert [parsed["Subject"] for parsed in read(sent)] == subjects


@given(name=lines.filter(lambda name: not re.search(r"[\x00-\x1f\x7f]", name) and len(name.encode()) <= 45))
@settings(max_examples=60, deadline=None)
def test_the_senders_name_comes_back_exactly(name: str) -> None:
    sent = envelope(content(sender_name=name), [["", "", ""]])
    assert mime.content_fault(sent.content) is None
    (parsed,) = read(sent)
    (address,) = parsed["From"].addresses
    assert (address.display_name, address.addr_spec) == (name, "office@acme.example")


@pytest.mark.parametrize("name", ["é" * 100, "x" * 5000])
def test_a_long_name_of_the_sender_is_folded(name: str) -> None:
    (parsed,) = read(envelope(content(sender_name=name), [["", "", ""]]))
    (raw,) = [value for header, value in parsed.raw_items() if header == "From"]
    # Python's own reader of address headers puts spaces between encoded words (RFC 2047 6.2 says not to).
    words, address = decode_header(raw)
    assert words == (name.encode(), "utf-8")
    assert address[0].strip() == b"<office@acme.example>"


@given(text=st.text(no_nul, max_size=300))
@example(text="x" * 73 + " \n")
@example(text="x" * 74 + " \n")
@example(text="x" * 75 + " \n")
@example(text="x" * 75)
@example(text="x" * 76)
@example(text="x" * 73 + "é")
@example(text="." * 200)
@example(text="é" * 200)
def test_quoted_printable_keeps_its_lines_short(text: str) -> None:
    encoded = mime_text.quoted_printable(text).split("\r\n")
    assert all(len(re.sub(r"^\.\.", ".", line)) <= 76 for line in encoded)
    decoded = a2b_qp(re.sub(r"^\.\.", ".", "\r\n".join(encoded), flags=re.MULTILINE))
    assert decoded.decode() == re.sub(r"\r\n|\r|\n", "\r\n", text)


def test_headers_say_who_when_and_which() -> None:
    shared = content(has_one_click=True, reply_to="help@acme.example")
    (parsed,) = read(envelope(shared, [["", "", ""]]))
    assert dict(parsed.items()) == {
        "From": "Acme <office@acme.example>",
        "Reply-To": "help@acme.example",
        "Date": "Sat, 01 Mar 2025 12:30:00 +0000",
        "Feedback-ID": "spring:acme:comms",
        "MIME-Version": "1.0",
        "To": "p0@x.example",
        "Subject": "News",
        "Message-ID": f"<{0:032x}@acme.example>",
        "X-Comms-Message": f"{0:032x}",
        "List-Unsubscribe": f"<{URL}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "Content-Type": 'multipart/alternative; boundary="=_nonce-of-this-test"',
    }


def test_a_long_unsubscribe_link_stays_on_one_line_as_it_is() -> None:
    url = "https://mail.example.org/u/" + "a" * 800
    sent = envelope(content(has_one_click=True), [["", "", ""]], unsubscribe_url=[url])
    data = mime.messages(sent, takes_8bit=True, sent_at=SENT_AT, nonce="n").data[0]
    assert f"\r\nList-Unsubscribe: <{url}>\r\n" in data


def test_only_what_is_not_ascii_or_too_long_is_encoded() -> None:
    parts = {"subject": ("s",), "text": ("plain",), "html": ("Zürich",)}
    built = mime.messages(
        envelope(content(parts=parts), [["", "", ""]]), takes_8bit=True, sent_at=SENT_AT, nonce="n"
    )
    encodings = re.findall(r"Content-Transfer-Encoding: (\S+)", built.data[0])
    assert (encodings, built.is_8bit) == (["7bit", "8bit"], True)
    without = mime.messages(
        envelope(content(parts=parts), [["", "", ""]]), takes_8bit=False, sent_at=SENT_AT, nonce="n"
    )
    encodings = re.findall(r"Content-Transfer-Encoding: (\S+)", without.data[0])
    assert (encodings, without.is_8bit) == (["7bit", "quoted-printable"], False)


@pytest.mark.parametrize(("length", "encoding"), [(998, "7bit"), (999, "quoted-printable")])
def test_lines_as_long_as_servers_must_take_are_left_alone(length: int, encoding: str) -> None:
    shared = content(parts={"subject": ("s",), "text": ("a\r\nb", 0, "\r\nc")})
    data = mime.messages(
        envelope(shared, [["x" * (length - 1)], ["x"]]), takes_8bit=True, sent_at=SENT_AT, nonce="n"
    ).data
    assert [re.findall(r"Encoding: (\S+)", text) for text in data] == [[encoding], [encoding]]


@pytest.mark.parametrize(
    "address",
    [
        "nobody at all",
        "a@b.example\r\nRCPT TO:<c@d.example>",
        "a@b.example\n",
        "a@b.example>",
        "<a@b.example",
        "a\0@b.example",
        "a@b@c.example",
        "@b.example",
        "a@",
        "",
        '"a b"@c.example',
        "a" * 65 + "@b.example",
        "a@" + "b" * 253,
    ],
)
def test_an_address_that_could_end_its_command_is_refused_as_invalid(address: str) -> None:
    sent = envelope(content(), [["", "", ""], ["", "", ""]], address=["ann@x.example", address])
    assert mime.faults(sent).to_list() == [None, "invalid"]


@pytest.mark.parametrize(
    ("slots", "url"),
    [
        (["\r\nBcc: x@y.example", "", ""], URL),
        (["a\rb", "", ""], URL),
        (["a\nb", "", ""], URL),
        (["a\0b", "", ""], URL),
        (["", "a\0b", ""], URL),
        (["", "", "a\0b"], URL),
        (["", "", ""], "https://x.example/\r\nBcc: x"),
        (["", "", ""], "https://x.example/a b"),
        (["", "", ""], "https://x.example/>"),
        (["", "", ""], "https://x.example/é"),
    ],
)
def test_a_text_that_could_make_headers_or_holds_nul_is_refused_alone(slots: list[str], url: str) -> None:
    shared = content(parts={"subject": (0,), "text": (1,), "html": (2,)}, has_one_click=True)
    calm = ["a", "line\r\nbreak", "b"]
    sent = envelope(shared, [calm, slots], unsubscribe_url=[URL, url])
    assert mime.faults(sent).to_list() == [None, "content"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sender": ""}, "configuration"),
        ({"sender": "office@acme.example\r\nRCPT TO:<x@y.example>"}, "configuration"),
        ({"sender_name": "Acme\r\nBcc: x@y.example"}, "configuration"),
        ({"reply_to": "x@y.example\nBcc: z@y.example"}, "configuration"),
        ({"parts": {"subject": ("s",), "text": ("a\0b",)}}, "content"),
    ],
)
def test_a_content_that_no_mail_can_have_is_refused(changes: dict[str, Any], reason: str) -> None:
    assert mime.content_fault(content(**changes)) == reason


def test_an_address_beyond_ascii_stands_in_its_header_as_it_is() -> None:
    sent = envelope(content(), [["", "", ""]], address=["jürgen@x.example"])
    assert mime.faults(sent).to_list() == [None]
    data = mime.messages(sent, takes_8bit=True, sent_at=SENT_AT, nonce="n").data[0]
    assert "\r\nTo: <jürgen@x.example>\r\n" in data
