"""The languages of the pages: their texts, and which one a visitor reads. Renders nothing.

Texts are data, one file a language under `locales/`, every file with the same names. Dates and times are written
by babel for the visitor's own locale: British and American readers share the texts, not the dates.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time
from functools import cached_property
from pathlib import Path

import yaml
from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_time
from starlette.requests import Request

DEFAULT = "en"
LANGUAGE_PARAMETER = "lang"

_LOCALES = Path(__file__).parent / "locales"
_NAME = "name"
# One entry of Accept-Language (RFC 9110, 12.5.4): a tag and how much it is liked.
_ACCEPTED = re.compile(r"\s*([A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8})*)\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?")
_MAX_ACCEPTED = 20


@dataclass(frozen=True, kw_only=True)
class Texts:
    """The texts of one language, called by name: `texts("unsubscribe.button")`.

    `locale` writes dates. `is_asked_for` says that the address itself names the language, so that links from
    page to page must go on naming it.
    """

    language: str
    locale: Locale
    is_asked_for: bool
    entries: Mapping[str, str] = field(repr=False)

    def __call__(self, name: str, **values: str) -> str:
        """The text of that name with `values` in its braces. Raises `KeyError` for a name there is not."""
        return self.entries[name].format(**values)

    @property
    def direction(self) -> str:
        """`ltr` or `rtl`."""
        return str(self.locale.text_direction)

    @property
    def query(self) -> str:
        """What an address on this page needs at its end to stay in the language."""
        return f"?{LANGUAGE_PARAMETER}={self.language}" if self.is_asked_for else ""

    def date(self, at: datetime) -> str:
        """The day, as long as people write it."""
        return format_date(at.date(), format="long", locale=self.locale)

    def clock(self, minute: int) -> str:
        """A minute of the day."""
        return format_time(time(minute // 60, minute % 60), format="short", locale=self.locale)


class Languages:
    """Every language there is a file for."""

    def __init__(self, folder: Path = _LOCALES) -> None:
        self._entries = {path.stem: _entries(path) for path in sorted(folder.glob("*.yaml"))}

    @cached_property
    def names(self) -> Mapping[str, str]:
        """What each language calls itself."""
        return {language: entries[_NAME] for language, entries in self._entries.items()}

    def texts(self, tag: str = DEFAULT, *, is_asked_for: bool = False) -> Texts:
        """The texts for a tag such as `pt-BR` whose language there is. Raises `KeyError` for another."""
        language = tag.split("-")[0].lower()
        return Texts(
            language=language,
            locale=_locale(tag, language),
            is_asked_for=is_asked_for,
            entries=self._entries[language],
        )

    def of(self, request: Request) -> Texts:
        """What the address asks for (`?lang=`), else what the browser accepts, else English."""
        asked = request.query_params.get(LANGUAGE_PARAMETER, "")
        if self._has(asked):
            return self.texts(asked, is_asked_for=True)
        accepted = _accepted(request.headers.get("accept-language", ""))
        return self.texts(next(filter(self._has, accepted), DEFAULT))

    def _has(self, tag: str) -> bool:
        return _ACCEPTED.fullmatch(tag) is not None and tag.split("-")[0].lower() in self._entries


def _accepted(header: str) -> list[str]:
    """The tags of an Accept-Language header, the most liked first; what is malformed or refused is left out."""
    matches = [_ACCEPTED.fullmatch(entry) for entry in header.split(",")[:_MAX_ACCEPTED]]
    liked = [(float(match[2] or 1), match[1]) for match in matches if match]
    return [tag for quality, tag in sorted(liked, key=lambda each: -each[0]) if quality > 0]


def _locale(tag: str, language: str) -> Locale:
    try:
        return Locale.parse(tag, sep="-")
    except (UnknownLocaleError, ValueError):
        return Locale.parse(language)


def _entries(path: Path) -> dict[str, str]:
    """The texts of a file under dotted names."""
    return dict(_flat("", yaml.safe_load(path.read_text(encoding="utf-8"))))


def _flat(prefix: str, node: Mapping[str, object]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in node.items():
        if isinstance(value, dict):
            found += _flat(f"{prefix}{name}.", value)
        else:
            found.append((f"{prefix}{name}", str(value)))
    return found
