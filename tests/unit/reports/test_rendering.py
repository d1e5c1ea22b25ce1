"""How reports look: one page that loads nothing, one PDF, each word in them harmless."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

from comms_pipeline.reports import rendering
from comms_pipeline.reports.charts.bars import Bar, Bars
from comms_pipeline.reports.charts.svg import SCREEN, Tone
from comms_pipeline.reports.document import Figure, Report, Row, Section, table

MADE_AT = datetime(2026, 12, 1, 12, tzinfo=UTC)
HOSTILE = '"><script>alert(\'x\')</script><img src=https://evil.example/x> #panic("x") *b* $x$ \\ @ref'


class Page(HTMLParser):
    """A page's tags, its words, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in {"src", "href", "action", "srcset"}]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def report(word: str = "a word", **changes: object) -> Report:
    chart = Bars(title=word, description=word, bars=(Bar(name=word, amount=1, text=word),))
    rows = (Row(cells=(word, "1"), tone=Tone.BAD),)
    sections = (
        Section(
            heading=word,
            lead=word,
            charts=(chart,),
            tables=(table(word, (word,), (word,), rows), table(word, (word,), (word,), rows, is_folded=True)),
            notes=(word, word),
        ),
        Section(heading=word, notes=(word,)),
    )
    values = {
        "kind": "Send report",
        "title": word,
        "facts": (word,),
        "figures": (
            Figure(name=word, value=word, note=word, tone=Tone.GOOD, trend=(0.1, 0.2)),
            Figure(name="Empty", value="–"),
        ),
        "figures_note": word,
        "sections": sections,
        "counts": {},
        "made_at": MADE_AT,
    } | changes
    return Report(**values)


def test_a_page_stands_by_itself():
    text = rendering.html_of(report())
    page = Page(text)

    assert page.loads == []
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert "default-src 'none'" in text
    assert "url(" not in text
    assert "@import" not in text
    assert '<html lang="en">' in text


def test_a_page_has_words_for_every_picture():
    text = rendering.html_of(report("Funnel"))

    # Once for wide and once for narrow windows, of which one is shown.
    assert text.count('role="img"') == 2
    assert text.count("<title>Funnel</title><desc>Funnel</desc>") == 2
    assert text.count("<summary>Funnel as a table</summary>") == 1
    assert text.count("<caption>Funnel</caption>") == 2
    assert text.count('scope="col"') == 4


def test_hostile_words_are_shown_on_the_page_and_do_nothing():
    page = Page(rendering.html_of(report(HOSTILE)))

    assert not {"script", "img"} & set(page.tags)
    assert page.loads == []
    assert "".join(page.words).count(HOSTILE) > 10


def test_a_pdf_is_tagged_titled_and_meets_the_standard_for_accessibility():
    content = rendering.pdf_of(report("Funnel"))

    assert content.startswith(b"%PDF-")
    assert b"/MarkInfo" in content
    assert b"/Lang(en)" in content
    assert b"pdfuaid" in content
    assert b"Send report: Funnel" in content


def test_hostile_words_are_data_to_typst():
    content = rendering.pdf_of(report(HOSTILE, title="Title"))

    assert content.startswith(b"%PDF-")
    assert b"/JavaScript" not in content
    assert b"/URI" not in content


def test_letters_that_no_font_has_do_not_keep_a_pdf_from_being_made():
    content = rendering.pdf_of(report("\U0001faf6 \ue000 中文 \x00\x1b"))

    assert content.startswith(b"%PDF-")


def test_the_same_report_makes_the_same_files():
    assert rendering.html_of(report()) == rendering.html_of(report())
    assert rendering.pdf_of(report()) == rendering.pdf_of(report())


def test_an_empty_report_is_a_report():
    empty = report(figures=(), sections=(), facts=(), figures_note="")

    assert "<h1>a word</h1>" in rendering.html_of(empty)
    assert rendering.pdf_of(empty).startswith(b"%PDF-")
    assert rendering.pictures_of(empty)[0].startswith(b"\x89PNG")


def test_a_page_without_pdf_leaves_no_older_pdf_behind(tmp_path):
    path = tmp_path / "folder" / "spring.html"
    both = rendering.write(report(), path, with_pdf=True)
    assert (both.html, both.pdf) == (path, path.with_suffix(".pdf"))
    alone = rendering.write(report(), path, with_pdf=False)

    assert alone.pdf is None
    assert [each.name for each in path.parent.iterdir()] == ["spring.html"]


def luminance(colour: str) -> float:
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_colours_are_told_apart_in_light_and_dark():
    """WCAG 2.1: 4.5 to 1 for words (1.4.3), 3 to 1 for marks (1.4.11)."""
    text = rendering.html_of(report())
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w+);", block))
        for block in re.findall(r":root \{(.*?)\}", text, re.S)
    )
    light = {key: "#ffffff" if value == "#fff" else value for key, value in light.items()}

    for colours in (light, dark):
        for ground in ("paper", "soft"):
            for name in ("ink", "faint", "first", "good", "warn", "bad"):
                assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
        for name in ("first", "second", "quiet"):
            assert contrast(colours[name], colours["paper"]) >= 3.0, name
    used = {SCREEN.ink, SCREEN.faint, *SCREEN.series, *SCREEN.tones.values(), *SCREEN.scale}
    assert {value[6:-1] for value in used} <= set(light) & set(dark)
