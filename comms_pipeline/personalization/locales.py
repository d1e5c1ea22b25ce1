"""What filters by language rest on: language tags, time zones, and the error of an input a filter cannot use.

Language data is CLDR's, as Babel packs it; Babel is imported when first asked. Formats nothing.
"""

import re
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from jinja2 import Undefined

if TYPE_CHECKING:
    from babel import Locale

DEFAULT_LANGUAGE = "en"
_TAG = re.compile(r"[A-Za-z0-9]{1,8}([-_][A-Za-z0-9]{1,8}){0,5}")
_ZONE = re.compile(r"[A-Za-z0-9+_-]{1,30}(/[A-Za-z0-9+_-]{1,30}){0,2}")
_TAG_FIX = "Write a language tag such as de or pt-BR."


class UnfitInput(ValueError):
    """A filter cannot use its value or an argument.

    `problem` completes "filter x gets …" without repeating data. `word` is the argument at fault: a text that an error
    may repeat only where the template's author wrote it.
    """

    def __init__(self, problem: str, fix: str, *, word: object = "") -> None:
        self.problem = problem
        self.fix = fix
        self.word = word if isinstance(word, str) else ""
        super().__init__(problem)


def check_present(value: object, *arguments: object) -> None:
    """Raises UnfitInput for a null value, as "None" helps no customer, and Jinja2's own error for what is undefined."""
    for given in (value, *arguments):
        if isinstance(given, Undefined):
            str(given)
    if value is None:
        raise UnfitInput("no value (null)", "Guard it with default(…, true) or `if`.")


@lru_cache(maxsize=1024)
def nearest_locale(tag: str) -> "Locale | None":
    """The locale of a BCP 47 tag (`de`, `de-AT`, `pt_BR`), or of its longest beginning that CLDR knows."""
    from babel import Locale, UnknownLocaleError

    if not _TAG.fullmatch(tag):
        return None
    subtags = tag.replace("_", "-").split("-")
    for count in range(len(subtags), 0, -1):
        try:
            return Locale.parse("-".join(subtags[:count]), sep="-")
        except (UnknownLocaleError, ValueError):
            continue
    return None


def locale_for(*tags: object) -> "Locale":
    """The locale of the first tag that names one, else English: what a contact's odd language falls back to."""
    for tag in tags:
        if tag is not None and not isinstance(tag, str):
            raise UnfitInput("a language that is no text", _TAG_FIX)
        found = None if tag is None else nearest_locale(tag)
        if found is not None:
            return found
    return locale_for(DEFAULT_LANGUAGE)


def check_locale(tag: object) -> None:
    """Raises UnfitInput for a tag without a locale. Whoever writes a template means what is written."""
    if tag is not None and not (isinstance(tag, str) and nearest_locale(tag)):
        raise UnfitInput("an unknown language", _TAG_FIX, word=tag)


def zone_named(name: object) -> ZoneInfo | None:
    """The IANA time zone of a name; None of None. Raises UnfitInput."""
    if name is None:
        return None
    try:
        if isinstance(name, str) and _ZONE.fullmatch(name):
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: the name of a folder of zones
        pass
    fix = "Write a zone of the IANA list, such as America/New_York."
    raise UnfitInput("an unknown time zone", fix, word=name)
