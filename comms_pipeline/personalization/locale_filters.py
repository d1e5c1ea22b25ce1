"""Our own filters: amounts, dates, times and phone numbers as a language writes them.

Pure functions of their arguments and the template's language, for columns and Jinja2 alike. How a moment is read and
written is in `moments.py`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from comms_pipeline.personalization.locales import (
    DEFAULT_LANGUAGE,
    UnfitInput,
    check_locale,
    check_present,
    locale_for,
    zone_named,
)
from comms_pipeline.personalization.moments import Format, Kind, check_format, moment_of, write

if TYPE_CHECKING:
    from babel import Locale

_NUMBER = re.compile(r"[+-]?([0-9]{1,18}(\.[0-9]{0,18})?|\.[0-9]{1,18})")
_MAX_DIGITS = 18  # before the point
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
# CLDR's currencySpacing, which Babel leaves out: KWD 7.000, but $7.00.
_CODE_BESIDE_DIGIT = re.compile(r"(?<=[^\W\d_])(?=1)|(?<=1)(?=[^\W\d_])")
_AMOUNT_FIX = "Pass a number or numeric text such as 1234.50."

ArgumentCheck = Callable[[object], object]


@dataclass(frozen=True, kw_only=True)
class LocaleFilters:
    """The filters of one part, one method each: `language` is the template's, a BCP 47 tag.

    An argument `locale` that is None, or that names a language CLDR lacks, means the template's language. All raise
    UnfitInput for what they cannot use, null included. Text parts get plain spaces: a non-breaking one would turn an
    SMS from GSM-7 into UCS-2, of half the length.
    """

    language: str = DEFAULT_LANGUAGE
    is_html: bool = False

    def currency(self, amount: object, code: object, locale: object = None) -> str:
        """An amount of the currency `code` (ISO 4217), rounded half up to its minor unit."""
        check_present(amount, code, locale)
        number, known = _amount(amount), currency_code(code)
        return self._spaced(_money(number, known, locale_for(locale, self.language)))

    def date(
        self, value: object, format: object = "medium", locale: object = None, zone: object = None
    ) -> str:
        """The date of ISO 8601 text, a date or a datetime; that of an instant in `zone`, if given."""
        return self._written(Kind.DATE, value, format, locale, zone)

    def time(
        self, value: object, format: object = "short", locale: object = None, zone: object = None
    ) -> str:
        """The time of day of ISO 8601 text, a time or a datetime; that of an instant in `zone`, if given."""
        return self._written(Kind.TIME, value, format, locale, zone)

    def datetime(
        self, value: object, format: object = "medium", locale: object = None, zone: object = None
    ) -> str:
        """Date and time of ISO 8601 text or a datetime; those of an instant in `zone`, if given."""
        return self._written(Kind.DATETIME, value, format, locale, zone)

    def phone(self, number: object, style: object = "national") -> str:
        """An E.164 number as its country writes it, `national` or `international`. Any other text stays as it is."""
        check_present(number, style)
        check_phone_style(style)
        if not isinstance(number, str):
            raise UnfitInput("a value that is no text", "Pass E.164 text such as +4930123456.")
        return self._spaced(_phone(number, style == "international")) if _E164.fullmatch(number) else number

    def _written(self, kind: Kind, value: object, format: object, locale: object, zone: object) -> str:
        check_present(value, format, locale, zone)
        form = Format(text=check_format(kind, format), locale=locale_for(locale, self.language))
        return self._spaced(write(kind, moment_of(kind, value, zone_named(zone)), form))

    def _spaced(self, text: str) -> str:
        # CLDR joins an amount and its currency, and a time and its AM, by spaces that do not break.
        return text if self.is_html else text.replace("\xa0", " ").replace("\u202f", " ")


def currency_code(code: object) -> str:
    """The ISO 4217 code in capitals. Raises UnfitInput."""
    known = _currencies().get(code) if isinstance(code, str) else None
    if known is not None:
        return known
    raise UnfitInput("an unknown currency", "Write an ISO 4217 code such as EUR.", word=code)


def check_phone_style(style: object) -> None:
    """Raises UnfitInput for any but the two styles."""
    if style not in ("national", "international"):
        raise UnfitInput("an unknown style", "Write national or international.", word=style)


def moment_checks(kind: Kind) -> Mapping[str, ArgumentCheck]:
    """What arguments of a filter of moments must be where a template writes them out."""
    return {"format": partial(check_format, kind), "locale": check_locale, "zone": zone_named}


@lru_cache(maxsize=1)
def _currencies() -> Mapping[str, str]:
    """Codes by how they may be written: payment systems like them in small letters."""
    from babel.numbers import list_currencies

    return {spelling: code for code in list_currencies() for spelling in (code, code.lower())}


def _amount(value: object) -> Decimal:
    """The number, exactly as it prints: 0.1 is one tenth."""
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value.strip()):
            raise UnfitInput("text that is no number", _AMOUNT_FIX)
        return Decimal(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise UnfitInput("a value that is no number", _AMOUNT_FIX)
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite() or number.adjusted() >= _MAX_DIGITS:
        raise UnfitInput("a number too large to be an amount", _AMOUNT_FIX)
    return number


def _money(number: Decimal, code: str, locale: "Locale") -> str:
    rounded = number.quantize(_minor_unit(code), ROUND_HALF_UP)
    digits = f"{abs(rounded):f}".replace(".", "")
    return _shape(code, locale, rounded < 0, len(digits)) % tuple(digits)


@lru_cache(maxsize=1024)
def _minor_unit(code: str) -> Decimal:
    from babel.numbers import get_currency_precision

    return Decimal(1).scaleb(-get_currency_precision(code))


@lru_cache(maxsize=4096)
def _shape(code: str, locale: "Locale", is_negative: bool, digits: int) -> str:
    """An amount with `%s` for each digit: it depends on their count and the sign alone.

    Babel writes each shape once, as that takes ten times as long as to fill it in.
    """
    from babel.numbers import format_currency

    ones = Decimal("1" * digits) * _minor_unit(code)
    text = format_currency(-ones if is_negative else ones, code, locale=locale)
    return _CODE_BESIDE_DIGIT.sub("\xa0", text).replace("%", "%%").replace("1", "%s")


def _phone(number: str, is_international: bool) -> str:
    import phonenumbers

    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return number
    formats = phonenumbers.PhoneNumberFormat
    style = formats.INTERNATIONAL if is_international else formats.NATIONAL
    return str(phonenumbers.format_number(parsed, style))
