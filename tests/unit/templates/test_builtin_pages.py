"""What readers get of every built-in template: sound pages, readable colours, short texts without markup."""

import re
from html.parser import HTMLParser

import polars as pl
import pytest

from comms_pipeline.builtin_templates import TextChannel
from comms_pipeline.domain.message import MessageClass
from comms_pipeline.domain.sms import SmsEncoding, encoding, segments
from comms_pipeline.previews.checks import check
from comms_pipeline.previews.rendering import example_frame, render

RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
DARK = "@media (prefers-color-scheme: dark) {"
# Which box is behind a text; those not named lie on the card.
BEHIND = {".panel-cell": ".panel", ".figure": ".panel", ".brand": ".page", ".footer p": ".page", ".footer a": ".page",
          ".button-link": ".button-cell"}  # fmt: skip
TEXTS = ["p", "h1", "h2", "a", ".content", ".quiet", ".rows th", ".rows td", ".rows caption", *BEHIND]
HTML_PARSER_VOID = {"meta", "br", "img", "link", "hr"}


def styles(page: str, *, is_dark: bool) -> dict[str, dict[str, str]]:
    """The declarations of every selector, the later the stronger; dark ones over light ones, as `!important` is."""
    text = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert text
    light, dark, rest = "", "", text[1]
    while "@media" in rest:
        before, _, after = rest.partition("@media")
        depth = end = after.index("{") + 1
        level = 1
        while level:
            level += {"{": 1, "}": -1}.get(after[end], 0)
            end += 1
        light += before
        if "dark" in after[:depth]:
            dark += after[depth : end - 1]
        rest = after[end:]
    found: dict[str, dict[str, str]] = {}
    for selectors, body in RULE.findall(light + rest + (dark if is_dark else "")):
        declarations = dict(re.findall(r"([\w-]+):\s*([^;]+?)(?: !important)?;", body))
        for selector in selectors.split(","):
            found.setdefault(selector.strip(), {}).update(declarations)
    return found


def luminance(colour: str) -> float:
    """WCAG 2.1, relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_nothing_is_found_wrong(draft):
    assert check(draft) == []


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
def test_every_text_has_enough_contrast(email, rendered, is_dark):
    rules = styles(rendered(email).parts["html"], is_dark=is_dark)
    panels = [box for box in (".panel", ".good", ".warn") if box in rules]
    for text in TEXTS:
        behind = BEHIND.get(text, ".card")
        for box in panels if behind == ".panel" else [behind]:
            ratio = contrast(rules[text]["color"], rules[box]["background-color"])
            assert ratio >= 4.5, (text, box, round(ratio, 2))


def test_no_text_is_smaller_than_16_pixels(email, rendered):
    rules = styles(rendered(email).parts["html"], is_dark=False)
    sizes = {name: rule["font-size"] for name, rule in rules.items() if "font-size" in rule}
    hidden = {".preheader", ".ornament-cell"}
    assert {name for name, size in sizes.items() if int(size.removesuffix("px")) < 16} <= hidden


class Strict(HTMLParser):
    """Every tag closed in order, even those HTML closes by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in HTML_PARSER_VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag, self.getpos()


def test_the_page_is_well_formed_and_accessible(email, rendered):
    page = rendered(email).parts["html"]
    reader = Strict()
    reader.feed(page)
    assert reader.stack == []
    tags = dict(reader.seen)
    assert tags["html"]["lang"] == "en"
    assert tags["html"]["dir"] == "ltr"
    assert re.search(r"<title>[^<]+</title>", page)
    assert page.count("<h1") == 1
    for name, attributes in reader.seen:
        if name == "table":
            assert attributes.get("role") == "presentation" or attributes["class"] == "rows"
        if name == "img":
            assert attributes["alt"]
        if name == "a":
            assert str(attributes["href"]).startswith("https://")
    assert '<meta name="color-scheme" content="light dark">' in page
    assert len(page.encode()) < 20_000


def test_statements_stand_between_elements_or_in_attribute_values(email):
    for name, source in email.includes.items():
        if name.endswith(".html"):
            for tag in re.findall(r"<[a-z][^<>]*>", source):
                outside = re.sub(r'"[^"]*"', '""', tag)
                assert "{%" not in outside, (name, tag)
                assert "{{" not in outside, (name, tag)


def test_marketing_offers_a_way_out_and_nothing_else_does(email, rendered):
    is_marketing = email.message_class is MessageClass.MARKETING
    for part in ("html", "text"):
        text = rendered(email).parts[part]
        assert ("https://example.com/unsubscribe" in text) is is_marketing
        assert ("https://example.com/preferences" in text) is is_marketing
        assert "3 Oven Lane" in text


def test_texts_have_no_markup_and_no_gaps(draft, rendered):
    parts = rendered(draft).parts
    for part in parts.keys() - {"html"}:
        text = parts[part]
        assert not re.search(r"<\w|&\w+;|\{\{|\{%", text), part
        assert "\n\n\n" not in text
        assert not re.search(r"[ \t]+$", text, re.MULTILINE)


def test_subjects_are_one_short_line(email, rendered):
    subject = rendered(email).parts["subject"]
    assert "\n" not in subject
    assert 10 <= len(subject) <= 60


def test_sms_fits_in_two_segments(draft, rendered):
    text = rendered(draft).parts["text"]
    if draft.channel is TextChannel.SMS:
        assert encoding(text) is SmsEncoding.GSM7
        assert segments(text) <= 2
    assert len(text) <= {TextChannel.MESSENGER: 320, TextChannel.WHATSAPP: 1_024}.get(draft.channel, 5_000)


def test_data_stays_data(email):
    frame = example_frame(email).with_columns(postal_address=pl.lit("<b>&{{ 1 }}"))
    page = render(email, frame).parts["html"]
    assert "&lt;b&gt;&amp;{{ 1 }}" in page
    assert "<b>" not in page
