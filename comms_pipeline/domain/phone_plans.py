"""Numbering plans over columns: the numbers whose validity libphonenumber's patterns prove outright.

The proof follows `phonenumbers.parse` and `is_valid_number` along their one unambiguous path: no doubt about
the country code, and none about a national prefix. Every other number is left open, never called invalid.
"""

import re
from functools import cache, reduce
from operator import or_
from typing import Any

import polars as pl

_PLAIN = r"^\+?\(?[0-9][0-9 ().\-]*$"
_PUNCTUATION = r"[ ().\-]"
_MAX_DIGITS = 15
# Captured groups carry dialling codes of telephone companies, or digits to be put elsewhere.
_GROUP = re.compile(r"\((?!\?)")
_TYPES = (
    "premium_rate",
    "toll_free",
    "shared_cost",
    "voip",
    "personal_number",
    "pager",
    "uan",
    "voicemail",
    "fixed_line",
    "mobile",
)


def certain_e164(numbers: pl.Series, region: str) -> pl.Series:
    """E.164 of the numbers certainly valid when dialled from `region`; null for all others."""
    text = pl.col("text")
    rows = (
        pl.DataFrame({"text": numbers.str.strip_chars()})
        .with_row_index("row")
        .filter(text.str.contains(_PLAIN))
        .with_columns(text.str.replace_all(_PUNCTUATION, ""))
        .filter(text.str.len_bytes() <= _MAX_DIGITS + 1)
    )
    is_international = text.str.starts_with("+")
    candidates = pl.concat(
        [
            _international(rows.filter(is_international)),
            _national(rows.filter(~is_international), region.upper()),
        ]
    )
    valid = [
        _valid(part.select("row", "nsn"), code)
        for (code,), part in candidates.partition_by("code", as_dict=True).items()
    ]
    if not valid:
        return pl.Series(numbers.name, [None] * len(numbers), pl.String)
    every_row = pl.DataFrame({"row": pl.int_range(len(numbers), dtype=pl.UInt32, eager=True)})
    found = every_row.join(pl.concat(valid), on="row", how="left", maintain_order="left")
    return found["e164"].alias(numbers.name)


def _international(rows: pl.DataFrame) -> pl.DataFrame:
    """Numbers with "+": the country code is what follows it, and no national prefix comes after."""
    split = rows.select(
        "row", parts=pl.col("text").str.extract_groups(rf"^\+({'|'.join(_calling_codes())})([0-9]+)$")
    ).select(
        "row",
        code=pl.col("parts").struct.field("1").cast(pl.Int64),
        nsn=pl.col("parts").struct.field("2"),
    )
    kept = [
        part.filter(~_begins("nsn", _main_plan(code).national_prefix_for_parsing))
        for (code,), part in split.drop_nulls().partition_by("code", as_dict=True).items()
    ]
    return pl.concat([split.clear(), *kept])


def _national(rows: pl.DataFrame, region: str) -> pl.DataFrame:
    """Numbers without "+", as dialled within `region`."""
    plan = _plan(region)
    if plan is None or rows.is_empty():
        return pl.DataFrame(schema={"row": pl.UInt32, "code": pl.Int64, "nsn": pl.String})
    code, prefix = str(plan.country_code), plan.national_prefix_for_parsing
    general = plan.general_desc.national_number_pattern
    main_prefix = _main_plan(plan.country_code).national_prefix_for_parsing
    text = pl.col("text")
    frame = rows.with_columns(rest=text.str.slice(len(code)))
    # The library takes the country code off only when the number makes sense without it and not with it.
    has_code = ~_is("text", general) & _is("rest", general)
    has_code &= ~_begins("rest", prefix) & ~_begins("rest", main_prefix)
    nsn = (
        pl.when(text.str.starts_with(code))
        .then(pl.when(has_code).then("rest"))
        .when(~_begins("text", prefix))
        .then("text")
    )
    if prefix and _GROUP.search(prefix) is None:
        # A number that makes sense with its first digits in place may keep them: left open.
        without_prefix = text.str.replace(f"^(?:{_ascii(prefix)})", "")
        nsn = nsn.when(~_is("text", general)).then(without_prefix)
    return (
        frame.filter(~_begins("text", plan.international_prefix))
        .select("row", code=pl.lit(plan.country_code, pl.Int64), nsn=nsn)
        .filter(_has_length(plan.general_desc))
    )


def _valid(rows: pl.DataFrame, code: int) -> pl.DataFrame:
    """The rows valid in a plan of this country code, with `e164`. The first plan that claims one decides."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    regions = COUNTRY_CODE_TO_REGION_CODE[code]
    valid, pending = [], rows
    for region in regions:
        plan = _plan(region, code)
        is_valid = _is_of_a_type(plan)
        if len(regions) == 1 or plan.leading_digits is None:
            is_claimed = is_valid
        else:
            is_claimed = _begins("nsn", plan.leading_digits)
        valid.append(pending.filter(is_claimed & is_valid))
        pending = pending.filter(~is_claimed)
        if pending.is_empty():
            break
    return pl.concat(valid).select("row", e164=pl.lit(f"+{code}") + pl.col("nsn"))


def _is_of_a_type(plan: Any) -> pl.Expr:
    """Whether `nsn` fits the plan as a whole and at least one kind of number in it."""
    patterns: dict[tuple[int, ...], list[str]] = {}
    descriptions = [found for name in _TYPES if (found := getattr(plan, name)) is not None]
    for description in descriptions:
        if description.national_number_pattern:
            patterns.setdefault(description.possible_length, []).append(description.national_number_pattern)
    kinds = [_is("nsn", "|".join(found)) & _is_long("nsn", lengths) for lengths, found in patterns.items()]
    general = _is("nsn", plan.general_desc.national_number_pattern) & _has_length(plan.general_desc)
    return general & reduce(or_, kinds, pl.lit(False))


def _has_length(description: Any) -> pl.Expr:
    return _is_long("nsn", description.possible_length)


def _is_long(column: str, lengths: tuple[int, ...]) -> pl.Expr:
    """Whether the text has one of the lengths; none given allows all."""
    return pl.col(column).str.len_bytes().is_in(lengths) if lengths else pl.lit(True)


def _is(column: str, pattern: str) -> pl.Expr:
    return pl.col(column).str.contains(f"^(?:{_ascii(pattern)})$")


def _begins(column: str, pattern: str | None) -> pl.Expr:
    return pl.col(column).str.contains(f"^(?:{_ascii(pattern)})") if pattern else pl.lit(False)


def _ascii(pattern: str) -> str:
    # Polars' \d means every digit of Unicode: automata a hundred times the size.
    return pattern.replace(r"\d", "[0-9]")


@cache
def _calling_codes() -> tuple[str, ...]:
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    return tuple(str(code) for code in COUNTRY_CODE_TO_REGION_CODE)


def _main_plan(code: int) -> Any:
    """The plan by which the library reads a number once its country code is known."""
    from phonenumbers import region_code_for_country_code

    return _plan(region_code_for_country_code(code), code)


def _plan(region: str, code: int | None = None) -> Any:
    """The metadata of a region ("001" with a code: of a service not tied to a country), or None."""
    from phonenumbers import PhoneMetadata

    if code is None:
        return PhoneMetadata.metadata_for_region(region, None)
    return PhoneMetadata.metadata_for_region_or_calling_code(code, region)
