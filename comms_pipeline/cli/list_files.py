"""Files that operations bring: suppressions, consents, do-not-call numbers. Reads and checks; stores nothing.

What is wrong with a row is said by its line, never by its values: they are personal data.
"""

import ipaddress
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import polars as pl

from comms_pipeline.domain.addresses import address_keys, email_column, phone_column
from comms_pipeline.domain.consent import ConsentState
from comms_pipeline.domain.errors import CommsError
from comms_pipeline.domain.event import SuppressionReason, SuppressionScope
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.validation import nearest

CHANNELS, REASONS, SCOPES, STATES = (
    [word.value for word in words] for words in (Channel, SuppressionReason, SuppressionScope, ConsentState)
)
_NUMBERS_AT_ONCE = 500_000
_WORD = r"^[a-z0-9][a-z0-9-]{0,62}$"

Problem = tuple[pl.Expr, str, str]
"""What is wrong where the expression is true, and how to mend it."""


class InvalidListFile(CommsError):
    """A list cannot be read, or rows of it are not valid; nothing was imported."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Rows that can be used, and the others: `line`, `problem`, `fix`."""

    good: pl.DataFrame
    bad: pl.DataFrame


def suppressions_in(file: Path, secret: bytes) -> Checked:
    """Columns `channel`, `reason`, `scope` and `address_key` (16 bytes) of a CSV file with addresses or keys in hex."""
    rows = _rows(file, {"channel", "reason"}, {"address", "address_key", "scope"})
    return checked_suppressions(
        rows.with_columns(pl.col("scope").fill_null(SuppressionScope.ALL.value)), secret
    )


def checked_suppressions(rows: pl.DataFrame, secret: bytes) -> Checked:
    """The same of rows given: `line`, `channel`, `reason`, `scope`, and `address` or `address_key` in hex."""
    keyed, address_problem = _keyed(rows, secret)
    hex_key = pl.col("address_key")
    problems: list[Problem] = [
        (_is_none_of("channel", CHANNELS), "the channel is unknown", _one_of(CHANNELS)),
        (_is_none_of("reason", REASONS), "the reason is unknown", _one_of(REASONS)),
        (_is_none_of("scope", SCOPES), "the scope is unknown", _one_of(SCOPES)),
        (
            pl.col("address").is_null() == hex_key.is_null(),
            "it needs either address or address_key",
            "Fill in one of the two",
        ),
        (~hex_key.str.contains(r"^[0-9a-fA-F]{32}$"), "the address_key is no key", "Write 32 hex digits"),
        address_problem,
    ]
    checked = _split(keyed, problems)
    key = pl.coalesce(hex_key.str.decode("hex", strict=False), "key_of_address")
    return Checked(good=checked.good.select("channel", "reason", "scope", address_key=key), bad=checked.bad)


def consents_in(file: Path, secret: bytes, now: datetime) -> Checked:
    """Columns of `ledger.consents.Consent` of a CSV file; `subject` is the address's key."""
    required, optional = (
        {"address", "channel", "kind", "state", "at", "source"},
        {"text_version", "purpose", "ip"},
    )
    rows = _rows(file, required, optional).with_columns(pl.col("purpose").fill_null("*"))
    keyed, address_problem = _keyed(rows, secret)
    instants = _parsed(keyed["at"], _instant, pl.Datetime("us", "UTC"))
    hosts = _parsed(keyed["ip"], _host, pl.String())
    frame = keyed.with_columns(instants.alias("instant"), hosts.alias("host"))
    problems: list[Problem] = [
        (pl.col("address").is_null(), "it has no address", "Fill it in"),
        (_is_none_of("channel", CHANNELS), "the channel is unknown", _one_of(CHANNELS)),
        address_problem,
        (
            ~pl.col("kind").str.contains(_WORD).fill_null(False),
            "the kind is no plain word",
            "Write one like express or written",
        ),
        (_is_none_of("state", STATES), "the state is unknown", _one_of(STATES)),
        (
            pl.col("instant").is_null(),
            "'at' is no time with a zone",
            "Write it like 2026-05-01T12:00:00Z",
        ),
        (pl.col("instant") > now, "'at' is in the future", "Write when the person said so"),
        (
            ~pl.col("purpose").str.contains(_WORD) & (pl.col("purpose") != "*"),
            "the purpose is neither a topic nor *",
            "Write a topic of the organisation, or leave it empty",
        ),
        (pl.col("source").is_null(), "it has no source", "Say where the consent comes from"),
        (
            pl.col("ip").is_not_null() & pl.col("host").is_null(),
            "the ip is no IP address",
            "Write an IPv4 or IPv6 address, or leave it empty",
        ),
    ]
    checked = _split(frame, problems)
    good = checked.good.select(
        *("channel", "purpose", "kind", "state", "text_version", "source"),
        subject="key_of_address",
        at="instant",
        ip_address="host",
    )
    return Checked(good=good, bad=checked.bad)


@dataclass(kw_only=True)
class NumberFile:
    """A registry's file: a number a line, `+12025550100`, `2025550100` or `202,5550100` (US). Read once, in slices."""

    file: Path
    secret: bytes
    bad: list[pl.DataFrame] = field(default_factory=list)
    """Rows that are no numbers, as in `Checked`; complete when `keys` has been used up."""

    def keys(self) -> Iterator[bytes]:
        """The numbers' keys. A first line without a digit is a heading."""
        try:
            with self.file.open(encoding="utf-8-sig") as lines:
                start = 1
                while part := list(islice(lines, _NUMBERS_AT_ONCE)):
                    yield from self._keys(pl.Series("given", part), start)
                    start += len(part)
        except (OSError, UnicodeDecodeError) as error:
            raise _unreadable(self.file, error) from None

    def _keys(self, lines: pl.Series, start: int) -> Iterator[bytes]:
        digits = pl.col("given").str.replace_all(r"[^\d+]", "")
        rows = pl.DataFrame({"given": lines}).with_row_index("line", start).with_columns(digits=digits)
        if start == 1:
            rows = rows.filter((pl.col("line") > 1) | pl.col("digits").str.contains(r"\d"))
        rows = rows.filter(pl.col("given").str.strip_chars() != "").with_columns(
            phone=pl.when(pl.col("digits").str.contains(r"^[2-9]\d{9}$"))
            .then("+1" + pl.col("digits"))
            .when(pl.col("digits").str.contains(r"^1[2-9]\d{9}$"))
            .then("+" + pl.col("digits"))
            .when(pl.col("digits").str.contains(r"^\+[1-9]\d{7,14}$"))
            .then("digits")
        )
        checked = _split(
            rows, [(pl.col("phone").is_null(), "it is no phone number", "Write it with + and country code")]
        )
        if checked.bad.height:
            self.bad.append(checked.bad)
        yield from address_keys(checked.good["phone"], Channel.SMS, self.secret).to_list()


def _rows(file: Path, required: set[str], optional: set[str]) -> pl.DataFrame:
    """All columns as trimmed text, null where there is nothing, and the `line` of each row."""
    try:
        with file.open("rb") as opened:
            rows = pl.read_csv(opened, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _unreadable(file, error) from None
    known = required | optional
    unknown, missing = sorted(set(rows.columns) - known), sorted(required - set(rows.columns))
    if unknown:
        raise InvalidListFile(file.name, f"unknown column '{unknown[0][:40]}'", nearest(unknown[0], known))
    if missing:
        raise InvalidListFile(file.name, f"it has no column '{missing[0]}'", "Add it to the first line")
    text = pl.col(pl.String).str.strip_chars()
    absent = [pl.lit(None, pl.String).alias(name) for name in sorted(known - set(rows.columns))]
    return (
        rows.with_columns(pl.when(text != "").then(text).name.keep())
        .with_columns(absent)
        .with_row_index("line", 2)
        .filter(~pl.all_horizontal(pl.col(rows.columns).is_null()))
    )


def _unreadable(file: Path, error: Exception) -> InvalidListFile:
    if isinstance(error, OSError):
        return InvalidListFile(file.name, error.strerror or "it cannot be read", "Check the path")
    # The library's own words may quote a row.
    return InvalidListFile(
        file.name, "it is no CSV file in UTF-8", "Save it as CSV, a heading in its first line"
    )


def _keyed(rows: pl.DataFrame, secret: bytes) -> tuple[pl.DataFrame, Problem]:
    """`key_of_address` beside the rows, in their order; and what is wrong where an address has none."""
    parts = []
    for channel in Channel:
        part = rows.filter(channel=channel.value)
        if channel is Channel.EMAIL:
            normal, _ = email_column(part["address"])
        else:
            is_whole = part["address"].str.starts_with("+")
            normal, _ = phone_column(part["address"].set(~is_whole.fill_null(False), None), "US")
        keys = address_keys(normal, channel, secret)
        parts.append(part.select("line").with_columns(keys.alias("key_of_address")))
    keyed = rows.join(pl.concat(parts), on="line", how="left", maintain_order="left")
    problem = pl.col("address").is_not_null() & pl.col("key_of_address").is_null()
    return keyed, (
        problem,
        "the address is not valid for the channel",
        "Correct it; numbers need + and country code",
    )


def _split(rows: pl.DataFrame, problems: list[Problem]) -> Checked:
    """By the first problem of each row; what cannot be told for want of a value is none."""
    found = rows.with_columns(
        problem=pl.coalesce(pl.when(wrong).then(pl.lit(problem)) for wrong, problem, _ in problems),
        fix=pl.coalesce(pl.when(wrong).then(pl.lit(fix)) for wrong, _, fix in problems),
    )
    return Checked(
        good=found.filter(pl.col("problem").is_null()),
        bad=found.filter(pl.col("problem").is_not_null()).select("line", "problem", "fix"),
    )


def _is_none_of(column: str, words: Collection[str]) -> pl.Expr:
    return ~pl.col(column).is_in(words).fill_null(False)


def _one_of(words: Collection[str]) -> str:
    return f"Use one of: {', '.join(words)}"


def _parsed(given: pl.Series, parse: Callable[[str], object], kind: pl.DataType) -> pl.Series:
    """Each distinct text parsed once; null where it cannot be."""
    values = {text: parse(text) for text in given.drop_nulls().unique()}
    return pl.Series([values.get(text) for text in given], dtype=kind)


def _instant(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _host(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
