"""What is known of a campaign before it goes out, and what its pages show. Values only; judges nothing."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser
from urllib.parse import urlsplit

from comms_pipeline.domain.html import VOID_ELEMENTS
from comms_pipeline.domain.message import Channel, MessageClass
from comms_pipeline.domain.tiers import Tier

ADULT_MARK = "SEXUALLY-EXPLICIT: "
"""How adult material begins its subject, in capitals: the first 19 characters by 16 CFR 316.4(a)(1)."""

# With a scheme; or without one, which phones make a link of too: a name with dots and a path.
_URL = re.compile(
    r"\bhttps?://[^\s<>\"')\]]+|(?<![@/.\w-])(?:[a-z0-9-]+\.)+[a-z]{2,24}/[^\s<>\"')\]]*", re.IGNORECASE
)
_HIDING = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_UNSEEN = frozenset({"head", "style", "script", "title", "template", "noscript"})


@dataclass(frozen=True, kw_only=True)
class Link:
    """Where a link leads and what people see of it ("" in a text, where they see the address itself)."""

    target: str
    label: str = ""

    @property
    def host(self) -> str:
        """In lower case; "" for what is no web address."""
        try:
            parts = urlsplit(self.target.strip())
            return (parts.hostname or "").rstrip(".") if parts.scheme in ("http", "https") else ""
        except ValueError:
            return ""


@dataclass(frozen=True, kw_only=True)
class Page:
    """What an HTML page shows: its visible text, links, number of images, and the names of all its tags."""

    text: str
    links: tuple[Link, ...]
    images: int
    tags: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One message as somebody of the audience would get it. Parts that the channel does not have are "".

    `opt_out_urls` are the recipient's own links to unsubscribe and to choose, as far as the message has them.
    """

    channel: Channel
    variant: str = ""
    language: str = ""
    subject: str = ""
    html: str = ""
    text: str = ""
    opt_out_urls: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Which message it is: channel, variant and language; says nothing about the recipient."""
        return " ".join(word for word in (self.channel, self.variant, self.language) if word)

    @cached_property
    def page(self) -> Page:
        """What its HTML shows; an empty page where there is none."""
        return read_page(self.html)

    @property
    def words(self) -> str:
        """Everything a person reads of it, a part on a line."""
        return "\n".join(part for part in (self.subject, self.page.text, self.text) if part)

    @cached_property
    def links(self) -> tuple[Link, ...]:
        """Every link of page and text."""
        found = (each.rstrip(".,;:!?") for each in _URL.findall(self.text))
        in_text = (Link(target=each if "://" in each else f"https://{each}") for each in found)
        return (*self.page.links, *in_text)


@dataclass(frozen=True, kw_only=True)
class CampaignFacts:
    """A campaign as it stands before its send.

    `one_click` holds the channels whose messages carry List-Unsubscribe headers; `audience_size` is None when nobody
    has counted; `public_url` is where our own links lead. `samples` are of every channel, variant and language.
    """

    message_class: MessageClass
    channels: Sequence[Channel]
    is_adult: bool = False
    from_email: str
    from_name: str
    organisation_name: str
    postal_address: str
    public_url: str
    one_click: frozenset[Channel]
    audience_size: int | None = None
    tier: Tier = Tier.UNLIMITED
    samples: tuple[Sample, ...]


@dataclass(frozen=True, kw_only=True)
class Case:
    """What one rule looks at: the campaign, its samples on the rule's channels, and what the rule's row gives.

    `limit` is in the check's own unit, `phrases` have weights.
    """

    facts: CampaignFacts
    samples: Sequence[Sample]
    limit: int = 0
    phrases: Mapping[str, int] = field(default_factory=dict)


Check = Callable[[Case], Iterator[str]]
"""Says what is wrong, once for each thing found; nothing: it passed."""


def read_page(html: str) -> Page:
    """Read an HTML page as far as judging it needs; never fails, whatever the page."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    reader.end_link()
    return Page(
        text=" ".join("".join(reader.shown).split()),
        links=tuple(reader.links),
        images=reader.images,
        tags=frozenset(reader.tags),
    )


class _Reader(HTMLParser):
    """Collects what is shown; `_hidden` counts the open elements since the outermost hidden one."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.shown: list[str] = []
        self.links: list[Link] = []
        self.images = 0
        self.tags: set[str] = set()
        self._hidden: list[str] = []
        self._target: str | None = None
        self._label: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        if tag in VOID_ELEMENTS:
            self._void(tag, attributes)
            return
        is_hidden = tag in _UNSEEN or "hidden" in attributes or _HIDING.search(attributes.get("style", ""))
        if self._hidden or is_hidden:
            self._hidden.append(tag)
        if tag == "a":
            self.end_link()
            self._target = attributes.get("href", "")
        # What stands in different elements are different words.
        self._show(" ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._void(tag, {name: value or "" for name, value in attrs})

    def handle_endtag(self, tag: str) -> None:
        if tag in self._hidden:
            while self._hidden.pop() != tag:
                pass
        if tag == "a":
            self.end_link()

    def handle_data(self, data: str) -> None:
        self._show(data)

    def end_link(self) -> None:
        """Take in the link that is open, if one is."""
        if self._target is not None:
            self.links.append(Link(target=self._target, label=" ".join("".join(self._label).split())))
        self._target, self._label = None, []

    def _void(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "img" and attributes.get("width") != "1":  # a pixel shows nothing
            self.images += 1
        if tag in ("br", "hr"):
            self._show(" ")

    def _show(self, text: str) -> None:
        if not self._hidden:
            self.shown.append(text)
            if self._target is not None:
                self._label.append(text)
