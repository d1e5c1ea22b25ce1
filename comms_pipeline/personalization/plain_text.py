"""The plain text of a page or of a piece of one: what a person sees of it, without the tags. No templates, no slots.

The library `inscriptis` lays it out; here it is told what e-mail needs: tables that only place things are no tables,
links say where they lead, and what is hidden is not there.
"""

import re
from functools import cache
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from inscriptis.model.config import ParserConfig  # type: ignore[import-untyped]
    from lxml.html import HtmlElement as Element  # type: ignore[import-untyped]

_HIDDEN = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|mso-hide\s*:\s*all)", re.IGNORECASE)
_MANY_BLANK_LINES = re.compile(r"\n{3,}")
# Their measures are pixels, which are nothing to lines of text.
_LAYOUT = ("style", "align", "valign")
_TABLE_PARTS = "./tr|./tbody|./thead|./tfoot|./*[self::tbody or self::thead or self::tfoot]/tr"


def plain_text(html: str) -> str:
    """What `html` says: links as `label (address)`, images as `[alternative text]`, no more than one blank line."""
    from inscriptis.html_engine import Inscriptis  # type: ignore[import-untyped]
    from lxml import etree  # type: ignore[import-untyped]
    from lxml.html import HTMLParser, document_fromstring

    try:
        # As bytes: a text that begins with an XML declaration is refused.
        parser = HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
        page = document_fromstring(html.encode(errors="replace"), parser=parser)
    except etree.ParserError:
        return ""  # blank
    _drop_hidden(page)
    for image in list(page.iter("img")):
        _write_image(image)
    for link in page.iter("a"):
        _write_address(link)
    for table in page.iter("table"):
        if table.get("role") == "presentation":
            _lay_out(table)
    for element in page.iter():
        for name in _LAYOUT:
            element.attrib.pop(name, None)
    lines = (line.rstrip() for line in Inscriptis(page, _config()).get_text().splitlines())
    return _MANY_BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()


def plain_column(html: pl.Series) -> pl.Series:
    """The same for each text of a column without nulls; the column itself when it holds no markup."""
    is_markup = html.str.contains("[&<]")
    if not is_markup.any():
        return html
    distinct = html.filter(is_markup).unique()
    texts = [_plain_piece(text) for text in distinct.to_list()]
    return html.replace(distinct, pl.Series(texts, dtype=pl.String))


def _plain_piece(html: str) -> str:
    from html import unescape

    # Most are words with an apostrophe: no page is needed to read these.
    return plain_text(html) if "<" in html else unescape(html)


def _drop_hidden(page: "Element") -> None:
    for element in list(page.iter()):
        if element is not page and ("hidden" in element.attrib or _HIDDEN.search(element.get("style", ""))):
            element.drop_tree()


def _write_image(image: "Element") -> None:
    alternative = image.get("alt", "").strip()
    link = next(image.iterancestors("a"), None)
    is_label = link is not None and not link.text_content().strip()
    image.tag = "span"
    image.text = alternative if is_label or not alternative else f"[{alternative}]"


def _write_address(link: "Element") -> None:
    address = link.get("href", "").strip()
    label = link.text_content().strip()
    if not address or address.startswith("#") or address in (label, f"mailto:{label}", f"tel:{label}"):
        return
    shown = f" ({address})" if label else address
    if len(link):
        link[-1].tail = (link[-1].tail or "").rstrip() + shown
    else:
        link.text = (link.text or "").rstrip() + shown


def _lay_out(table: "Element") -> None:
    """Makes lines of a table that only places things."""
    for part in table.xpath(_TABLE_PARTS):
        if part.tag == "tr":
            for cell in part:
                cell.tag = "div"
        part.tag = "div"
    table.tag = "div"


@cache
def _config() -> "ParserConfig":
    from inscriptis.css_profiles import CSS_PROFILES  # type: ignore[import-untyped]
    from inscriptis.html_properties import Display  # type: ignore[import-untyped]
    from inscriptis.model.config import ParserConfig
    from inscriptis.model.html_element import HtmlElement  # type: ignore[import-untyped]

    # Lists begin at the margin: their points may come from a slot, which knows of no indentation.
    flat = HtmlElement(display=Display.block)
    return ParserConfig(css={**CSS_PROFILES["strict"], "ul": flat, "ol": flat})
