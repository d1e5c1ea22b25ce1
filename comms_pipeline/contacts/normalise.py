"""A batch's targets → normal forms, and every cell that has none → a problem. Columns in, columns out."""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from zoneinfo import available_timezones

import polars as pl

from comms_pipeline.contacts.mapping import Target
from comms_pipeline.domain.addresses import email_column, phone_column

PROBLEMS = pl.Schema({"source_row": pl.Int64, "column": pl.String, "reason": pl.String})
"""A cell that could not be used: row number, target, why. Never the value: it may be personal data."""

INVALID_LANGUAGE = "not a language code such as en or pt-BR"
INVALID_TIME_ZONE = "not a time zone such as America/New_York"
INVALID_COUNTRY = "not a country code such as US"

_ONE_LINE = (Target.EXTERNAL_ID, Target.NAME, Target.REGION, Target.POSTCODE)
# RFC 5646, loosely: a primary language of two or three letters, then subtags.
_LANGUAGE = r"^[a-z]{2,3}(?:-[a-z0-9]{1,8})*$"
# Names in daily use that the IANA list spells otherwise.
_COUNTRY_ALIASES = {
    "uk": "GB",
    "united kingdom": "GB",
    "great britain": "GB",
    "usa": "US",
    "united states of america": "US",
}


def normalise(rows: pl.DataFrame, default_region: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows with every target in normal form or null, and the `PROBLEMS` of cells that had none.

    Telephone numbers without "+" are read as dialled from the row's country, else from `default_region`.
    """
    rows = rows.with_columns(_one_line(target) for target in _ONE_LINE)
    checked = {
        Target.EMAIL: email_column(rows[Target.EMAIL]),
        Target.LANGUAGE: _languages(rows[Target.LANGUAGE]),
        Target.TIME_ZONE: _listed(rows[Target.TIME_ZONE], _time_zones(), INVALID_TIME_ZONE),
        Target.COUNTRY: _listed(rows[Target.COUNTRY], _countries(), INVALID_COUNTRY),
    }
    countries = checked[Target.COUNTRY][0]
    has_countries = countries.null_count() < len(countries)
    region = countries.fill_null(default_region) if has_countries else default_region
    checked[Target.PHONE] = phone_column(rows[Target.PHONE], region)
    problems = [
        pl.DataFrame({"source_row": rows["source_row"], "reason": reason})
        .filter(pl.col("reason").is_not_null())
        .select("source_row", pl.lit(target.value).alias("column"), "reason")
        for target, (_, reason) in checked.items()
        if reason.null_count() < len(reason)
    ]
    normal = rows.with_columns(values.alias(target) for target, (values, _) in checked.items())
    return normal, pl.concat([PROBLEMS.to_frame(), *problems])


def _one_line(target: Target) -> pl.Expr:
    text = pl.col(target).str.replace_all(r"[\s\p{Cc}]+", " ").str.strip_chars()
    return pl.when(text != "").then(text).alias(target)


def _languages(given: pl.Series) -> tuple[pl.Series, pl.Series]:
    code = pl.col("given").str.strip_chars().str.to_lowercase().str.replace_all("_", "-", literal=True)
    frame = pl.DataFrame({"given": given}).select(
        normal=pl.when(code.str.contains(_LANGUAGE)).then(code), is_given=code != ""
    )
    return frame["normal"], _reason(frame, INVALID_LANGUAGE)


def _listed(given: pl.Series, names: Mapping[str, str], reason: str) -> tuple[pl.Series, pl.Series]:
    """Values found in `names` (lower case → normal form)."""
    key = pl.col("given").str.strip_chars().str.to_lowercase()
    normal = key.replace_strict(list(names), list(names.values()), default=None, return_dtype=pl.String)
    frame = pl.DataFrame({"given": given}).select(normal=normal, is_given=key != "")
    return frame["normal"], _reason(frame, reason)


def _reason(frame: pl.DataFrame, reason: str) -> pl.Series:
    is_wrong = pl.col("is_given") & pl.col("normal").is_null()
    return frame.select(pl.when(is_wrong).then(pl.lit(reason))).to_series()


@cache
def _time_zones() -> Mapping[str, str]:
    return {name.lower(): name for name in available_timezones()}


@cache
def _countries() -> Mapping[str, str]:
    """ISO 3166 codes and English names, from the list that comes with the time zones."""
    table = resources.files("tzdata").joinpath("zoneinfo", "iso3166.tab").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in table.splitlines() if line and not line.startswith("#")]
    names = {name.lower(): code for code, name in rows}
    return names | _COUNTRY_ALIASES | {code.lower(): code for code, _ in rows}
