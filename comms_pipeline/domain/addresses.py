"""E-mail addresses and telephone numbers: validity, normal form, and the keys suppressions are kept under.

Every rule exists twice: as the plain truth for one value, and over a column with the same answers. A column
settles common shapes by regular expression and leaves all others to the library, value by value; it never
accepts what the library refuses. Nothing here asks whether an address can be reached.
"""

import hashlib
import hmac
import unicodedata

import idna
import polars as pl

from comms_pipeline.domain.errors import InvalidSettings
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.phone_plans import certain_e164

KEY_VERSION = 1
"""Version of the address keys; a change of key form or secret makes a new one."""

INVALID_EMAIL = "not a valid e-mail address"
INVALID_PHONE = "not a valid phone number"

_KEY_BYTES = 16
_BLOCK_BYTES = 64
"""Of SHA-256: what an HMAC key is filled up to."""
_MAX_EMAIL_BYTES, _MAX_LOCAL_PART, _MAX_INPUT = 254, 64, 1_000
_ATEXT = r"[A-Za-z0-9_!#$%&'*+\-/=?^`{|}~]+"
_LABEL = r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*"
# Labels with two hyphens in a row (Punycode among them) are left to the library.
_PLAIN_EMAIL = rf"^{_ATEXT}(?:\.{_ATEXT})*@(?:{_LABEL}\.)+[A-Za-z]{{2,63}}$"
_LONG_LABEL = r"@.*[A-Za-z0-9-]{64}"


def normalise_email(address: str) -> str | None:
    """The address as given, trimmed, or None when it is not valid (RFC 5321, 5322, 6531; no DNS).

    Case and plus-tags stay. What cannot travel is put into the form that can: a local part in NFC, an
    internationalised domain in its ASCII form. Special-use domains (.test) are refused, .example is not.
    """
    from email_validator import EmailNotValidError, validate_email

    text = address.strip()
    if len(text) > _MAX_INPUT:
        return None
    try:
        # Strict refuses local parts over 64 octets: one such address makes SendGrid refuse its whole request.
        valid = validate_email(text, check_deliverability=False, strict=True)
    except EmailNotValidError:
        return None
    return text if text.isascii() else f"{valid.local_part}@{valid.ascii_domain}"


def email_column(addresses: pl.Series) -> tuple[pl.Series, pl.Series]:
    """`normalise_email` over a String column: the normal forms, and why a given one is not valid.

    Both are null where nothing was given (null or blank).
    """
    from email_validator import SPECIAL_USE_DOMAIN_NAMES

    given = pl.col("trimmed")
    special = "|".join(name.replace(".", r"\.") for name in SPECIAL_USE_DOMAIN_NAMES)
    frame = pl.DataFrame({"given": addresses, "trimmed": addresses.str.strip_chars()}).with_columns(
        is_certain=given.str.contains(_PLAIN_EMAIL)
        & (given.str.len_bytes() <= _MAX_EMAIL_BYTES)
        & (given.str.find("@", literal=True) <= _MAX_LOCAL_PART)
        & ~given.str.contains(_LONG_LABEL)
        & ~given.str.contains(rf"(?i)[.@](?:{special})$")
    )
    doubtful = frame.filter(~pl.col("is_certain"))["given"].unique().to_list()
    valid = {text: form for text in doubtful if (form := normalise_email(text)) is not None}
    normal = frame.select(
        pl.when("is_certain").then("trimmed").otherwise(_looked_up("given", valid)).alias(addresses.name)
    ).to_series()
    return normal, _reason(addresses, normal, INVALID_EMAIL)


def normalise_phone(number: str, region: str) -> str | None:
    """The number as E.164, or None when it is not valid in its country's plan or has an extension.

    `region` (ISO 3166 alpha-2) is where a number without "+" is dialled from. Valid means valid by
    libphonenumber's metadata; of the ranges kept for fiction, +1 ... 555-01xx and +44 20 7946 0xxx are.
    """
    import phonenumbers

    try:
        parsed = phonenumbers.parse(number, region.upper())
    except phonenumbers.NumberParseException:
        return None
    if parsed.extension or not phonenumbers.is_valid_number(parsed):
        return None
    return str(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))


def phone_column(numbers: pl.Series, region: pl.Series | str) -> tuple[pl.Series, pl.Series]:
    """`normalise_phone` over a String column, with one region for all or one (never null) for each.

    Returns the E.164 numbers and why a given one is not valid; both null where nothing was given.
    """
    dialled_from = pl.lit(region) if isinstance(region, str) else region
    given = pl.DataFrame({"given": numbers}).with_columns(region=dialled_from)
    distinct = given.filter(pl.col("given").str.strip_chars() != "").unique()
    known = [_phones_of_region(part) for part in distinct.partition_by("region")]
    if not known:
        known = [distinct.with_columns(phone=pl.lit(None, pl.String))]
    normal = given.join(pl.concat(known), on=["given", "region"], how="left", maintain_order="left")["phone"]
    return normal.alias(numbers.name), _reason(numbers, normal, INVALID_PHONE)


def _phones_of_region(distinct: pl.DataFrame) -> pl.DataFrame:
    """`given` and `region` (one and the same) to the same with `phone`."""
    region: str = distinct["region"][0]
    frame = distinct.with_columns(phone=certain_e164(distinct["given"], region))
    doubtful = frame.filter(pl.col("phone").is_null())["given"].to_list()
    valid = {text: form for text in doubtful if (form := normalise_phone(text, region)) is not None}
    return frame.with_columns(phone=pl.coalesce("phone", _looked_up("given", valid)))


def email_key(address: str) -> str:
    """The form under which two addresses are one mailbox: NFC, case folded, the domain in ASCII.

    Plus-tags and dots stay: only some mail systems ignore them. Never fails; what no address can look like
    is folded as it is.
    """
    text = address.strip()
    if text.isascii():
        return text.lower()
    local, at, domain = text.rpartition("@")
    try:
        domain = idna.encode(domain, uts46=True).decode() if domain else domain
    except idna.IDNAError:
        domain = _folded(domain)
    return f"{_folded(local)}{at}{domain}"


def email_keys(addresses: pl.Series) -> pl.Series:
    """`email_key` over a String column; null stays null."""
    given = pl.col("given")
    frame = pl.DataFrame({"given": addresses}).with_columns(
        is_ascii=given.str.len_bytes() == given.str.len_chars()
    )
    others = frame.filter(~pl.col("is_ascii"))["given"].unique().to_list()
    return frame.select(
        pl.when("is_ascii")
        .then(given.str.strip_chars(_ASCII_SPACE).str.to_lowercase())
        .otherwise(_looked_up("given", {text: email_key(text) for text in others}))
        .alias(addresses.name)
    ).to_series()


def address_key(address: str, channel: Channel, secret: bytes) -> bytes:
    """The 16-byte keyed hash a suppression is kept under: HMAC-SHA256 over version, channel and key form.

    A key of one channel says nothing about another's. Raises `InvalidSettings` for an empty secret.
    """
    keyed = _keyed(channel, secret)
    form = email_key(address) if channel is Channel.EMAIL else address.strip()
    keyed.update(form.encode(errors="surrogatepass"))
    return keyed.digest()[:_KEY_BYTES]


def address_keys(addresses: pl.Series, channel: Channel, secret: bytes) -> pl.Series:
    """`address_key` over a String column, as Binary; null stays null. About a million a second."""
    forms = email_keys(addresses) if channel is Channel.EMAIL else addresses.str.strip_chars()
    inner_pad, outer_pad = _hmac_pads(secret)
    # Copies of two plain hashes take half the time of a copy of an HMAC object.
    inner_copy = hashlib.sha256(inner_pad + _key_context(channel)).copy
    outer_copy = hashlib.sha256(outer_pad).copy
    digests: list[bytes | None] = []
    for form in forms.cast(pl.Binary).to_list():
        if form is None:
            digests.append(None)
            continue
        inner, outer = inner_copy(), outer_copy()
        inner.update(form)
        outer.update(inner.digest())
        digests.append(outer.digest())
    return pl.Series(addresses.name, digests, pl.Binary).bin.head(_KEY_BYTES)


# What `str.strip` removes from ASCII text; Polars' own idea of white space lacks the last four.
_ASCII_SPACE = " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"


def _keyed(channel: Channel, secret: bytes) -> hmac.HMAC:
    return hmac.new(_required(secret), _key_context(channel), hashlib.sha256)


def _hmac_pads(secret: bytes) -> tuple[bytes, bytes]:
    """What the inner and the outer hash of an HMAC-SHA256 begin with (RFC 2104)."""
    key = _required(secret)
    block = (key if len(key) <= _BLOCK_BYTES else hashlib.sha256(key).digest()).ljust(_BLOCK_BYTES, b"\0")
    return bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)


def _key_context(channel: Channel) -> bytes:
    return f"comms/address/{KEY_VERSION}/{channel}/".encode()


def _required(secret: bytes) -> bytes:
    if not secret:
        # An HMAC under an empty key is a plain hash: anybody could test whom we suppress.
        raise InvalidSettings("COMMS_SECRET_KEY", "it is empty", "Run `comms init`, or set it")
    return secret


def _folded(text: str) -> str:
    # Folding can undo normalisation, hence once before and once after (Unicode 3.13, D145).
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


def _looked_up(column: str, values: dict[str, str]) -> pl.Expr:
    """`column` translated by `values`; null for what is not in it."""
    if not values:
        return pl.lit(None, pl.String)
    return pl.col(column).replace_strict(
        list(values), list(values.values()), default=None, return_dtype=pl.String
    )


def _reason(given: pl.Series, normal: pl.Series, reason: str) -> pl.Series:
    frame = pl.DataFrame({"given": given, "normal": normal})
    is_wrong = (pl.col("given").str.strip_chars() != "") & pl.col("normal").is_null()
    return frame.select(pl.when(is_wrong).then(pl.lit(reason)).alias("reason")).to_series()
