"""Signed tokens for the links in messages: through what, which message, to whom. Ids only, no personal data.

A token is opaque, compact and never expires: an unsubscribe link must work for as long as the message
exists (CAN-SPAM asks for 30 days, CASL for 60). The addresses built of them live in `links`, what a link
*does* in `web`.

Two layouts, before base64url; neither ever changes, for the links already sent:

- full: version 1, key id, channel, length of the organisation (a byte each), organisation, message id (16
  bytes), contact id (16), address key (16 or none), MAC (16);
- short, where the contact may be left out: version 2, key id, channel and length of the organisation (one
  byte), organisation, message id (16), address key (16 or none), MAC (10).

The MAC is BLAKE2b keyed per purpose, so a token made for one purpose means nothing to another. A click's
covers where it leads to as well: the target stands in the link, and no other can be put in its place.
"""

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from hmac import compare_digest

import polars as pl

from comms_pipeline.domain.errors import InvalidSettings
from comms_pipeline.domain.message import Channel

_FULL, _SHORT = 1, 2
_MAC_BYTES = {_FULL: 16, _SHORT: 10}
_ID_BYTES = 16
_MIN_BYTES = 3 + _ID_BYTES + _MAC_BYTES[_SHORT]
_MAX_CHARACTERS = 256
# In the short layout the length of the organisation has the six lower bits of a byte.
_MAX_ORGANISATION_BYTES = 63
_CHANNEL_CODES = {Channel.EMAIL: 1, Channel.SMS: 2, Channel.WHATSAPP: 3}
_CHANNELS = {code: channel for channel, code in _CHANNEL_CODES.items()}


class Purpose(StrEnum):
    """What a token entitles its bearer to."""

    UNSUBSCRIBE = "unsubscribe"
    PREFERENCES = "preferences"
    CLICK = "click"
    OPEN = "open"
    TRAP = "trap"
    CONFIRM = "confirm"


@dataclass(frozen=True, kw_only=True)
class TokenClaims:
    """What a verified token says.

    `contact_id` is None in a short token: the message names the contact to whoever has the plan.
    `address_key` is empty where the purpose does not need it.
    """

    organisation_id: str
    contact_id: str | None
    channel: Channel
    message_id: str
    address_key: bytes


@dataclass(frozen=True, kw_only=True)
class TokenKeys:
    """Signs with the newest secret, verifies with every one it was given: links must outlive a rotation.

    `secrets` maps key ids (1–255, growing) to secrets. Raises `InvalidSettings` when one is empty.
    """

    secrets: Mapping[int, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        if not self.secrets or not all(self.secrets.values()):
            raise InvalidSettings("COMMS_SECRET_KEY", "is empty", "Run `comms init` to generate one")

    @classmethod
    def from_secret(cls, secret: bytes) -> "TokenKeys":
        """Keys of an installation whose link keys were never rotated."""
        return cls(secrets={1: secret})

    @property
    def current_id(self) -> int:
        """The key id that signs."""
        return max(self.secrets)

    def sign(
        self,
        purpose: Purpose,
        *,
        organisation_id: str,
        channel: Channel,
        message_id: str,
        contact_id: str | None = None,
        address_key: bytes = b"",
        target: str | None = None,
    ) -> str:
        """A token: short without a contact. Ids are 32 hex digits, `address_key` is 16 bytes or empty.

        `target` is where a click leads to; every click has one and nothing else does. Raises `ValueError` for
        ids of another shape and for a target too many or too few.
        """
        version = _SHORT if contact_id is None else _FULL
        payload = b"".join(
            (
                _header(version, self.current_id, organisation_id, channel),
                _packed_id(message_id),
                b"" if contact_id is None else _packed_id(contact_id),
                _checked_width(address_key, {0, _ID_BYTES}),
            )
        )
        digest = self._mac(purpose, self.current_id, version, target)
        digest.update(payload)
        return urlsafe_b64encode(payload + digest.digest()).rstrip(b"=").decode()

    def sign_column(
        self,
        purpose: Purpose,
        *,
        organisation_id: str,
        channel: Channel,
        message_ids: pl.Series,
        contact_ids: pl.Series | None = None,
        address_keys: pl.Series | None = None,
    ) -> pl.Series:
        """`sign` for a whole column: ids as String, address keys as Binary; gives String, same order.

        Raises `ValueError` for nulls and ids of another shape. Clicks have a column of their own.
        """
        version = _SHORT if contact_ids is None else _FULL
        header = _header(version, self.current_id, organisation_id, channel)
        state = self._mac(purpose, self.current_id, version, None)
        state.update(header)
        return _encoded(_signed(header, state.copy, _bodies(message_ids, contact_ids, address_keys)))

    def click_column(
        self,
        target: str | pl.Series,
        *,
        organisation_id: str,
        channel: Channel,
        message_ids: pl.Series,
    ) -> pl.Series:
        """Short click tokens, one per message, for one target or for a target (String) of each.

        `links` decides which targets are allowed, and puts them beside the tokens. Raises `ValueError` for
        nulls, ids of another shape, and columns of different lengths.
        """
        header = _header(_SHORT, self.current_id, organisation_id, channel)
        bodies = _bodies(message_ids, None, None)
        if isinstance(target, str):
            state = self._mac(Purpose.CLICK, self.current_id, _SHORT, target)
            state.update(header)
            return _encoded(_signed(header, state.copy, bodies))
        if target.null_count():
            raise ValueError(f"{target.name or 'a column'}: every message needs a target")
        copy = self._keyed(Purpose.CLICK, self.current_id, _SHORT).copy
        return _encoded(_signed_with_targets(header, copy, bodies, target))

    def verify(self, token: str, purpose: Purpose, target: str | None = None) -> TokenClaims | None:
        """What the token says, or None for anything we did not sign for this purpose (and this target)."""
        raw = _decoded(token)
        if raw is None or len(raw) < _MIN_BYTES or (target is None) == (purpose is Purpose.CLICK):
            return None
        version, key_id = raw[0], raw[1]
        if version not in _MAC_BYTES or key_id not in self.secrets:
            return None
        payload, digest = raw[: -_MAC_BYTES[version]], raw[-_MAC_BYTES[version] :]
        expected = self._mac(purpose, key_id, version, target)
        expected.update(payload)
        return _claims(payload) if compare_digest(expected.digest(), digest) else None

    def _mac(self, purpose: Purpose, key_id: int, version: int, target: str | None) -> blake2b:
        """The MAC before the payload went in."""
        if (target is None) == (purpose is Purpose.CLICK):
            raise ValueError(f"a {purpose} token with{'out' if target is None else ''} a target")
        state = self._keyed(purpose, key_id, version)
        if target is not None:
            state.update(_prefixed(target))
        return state

    def _keyed(self, purpose: Purpose, key_id: int, version: int) -> blake2b:
        root = blake2b(self.secrets[key_id], digest_size=32, person=b"comms-tokens").digest()
        key = blake2b(purpose.encode(), key=root, digest_size=32, person=b"comms-purpose").digest()
        return blake2b(key=key, digest_size=_MAC_BYTES[version])


def _header(version: int, key_id: int, organisation_id: str, channel: Channel) -> bytes:
    organisation = organisation_id.encode("ascii")
    if len(organisation) > _MAX_ORGANISATION_BYTES:
        raise ValueError(f"an organisation id has at most {_MAX_ORGANISATION_BYTES} characters")
    code = _CHANNEL_CODES[channel]
    if version == _FULL:
        return bytes((version, key_id, code, len(organisation))) + organisation
    return bytes((version, key_id, code << 6 | len(organisation))) + organisation


def _prefixed(target: str) -> bytes:
    """The target as the MAC reads it: after its length, so that its end cannot pass for the payload's start."""
    # A lone surrogate, which only hostile queries bring, must not raise: it just was never signed.
    text = target.encode(errors="surrogatepass")
    return len(text).to_bytes(4, "big") + text


def _bodies(
    message_ids: pl.Series, contact_ids: pl.Series | None, address_keys: pl.Series | None
) -> Iterable[bytes]:
    """What follows the header, for each row."""
    columns = [_packed_ids(message_ids)]
    if contact_ids is not None:
        columns.append(_packed_ids(contact_ids))
    if address_keys is not None:
        columns.append(_checked_widths(address_keys))
    if len(columns) == 1:
        return columns[0].to_list()
    return map(b"".join, zip(*(column.to_list() for column in columns), strict=True))


def _signed(header: bytes, copy: Callable[[], blake2b], bodies: Iterable[bytes]) -> Iterator[bytes]:
    for body in bodies:
        digest = copy()
        digest.update(body)
        yield header + body + digest.digest()


def _signed_with_targets(
    header: bytes, copy: Callable[[], blake2b], bodies: Iterable[bytes], targets: pl.Series
) -> Iterator[bytes]:
    for body, target in zip(bodies, targets.to_list(), strict=True):
        payload = header + body
        digest = copy()
        digest.update(_prefixed(target) + payload)
        yield payload + digest.digest()


def _encoded(raw: Iterable[bytes]) -> pl.Series:
    encoded = pl.Series("token", list(raw), dtype=pl.Binary).bin.encode("base64").str.strip_chars_end("=")
    return encoded.str.replace_all("+", "-", literal=True).str.replace_all("/", "_", literal=True)


def _decoded(token: str) -> bytes | None:
    """Bytes of a canonical base64url text: exactly one spelling of a token is valid."""
    if len(token) > _MAX_CHARACTERS:
        return None
    try:
        raw = b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    return raw if urlsafe_b64encode(raw).rstrip(b"=").decode() == token else None


def _claims(payload: bytes) -> TokenClaims | None:
    """Claims of a payload whose MAC was right; None for a channel of another release."""
    is_full = payload[0] == _FULL
    if is_full:
        start, channel_code, length = 4, payload[2], payload[3]
    else:
        start, channel_code, length = 3, payload[2] >> 6, payload[2] & _MAX_ORGANISATION_BYTES
    channel = _CHANNELS.get(channel_code)
    if channel is None:
        return None
    organisation, ids = payload[start : start + length], payload[start + length :]
    contact_end = 2 * _ID_BYTES if is_full else _ID_BYTES
    return TokenClaims(
        organisation_id=organisation.decode("ascii"),
        contact_id=ids[_ID_BYTES:contact_end].hex() if is_full else None,
        channel=channel,
        message_id=ids[:_ID_BYTES].hex(),
        address_key=ids[contact_end:],
    )


def _packed_id(value: str) -> bytes:
    return _checked_width(bytes.fromhex(value), {_ID_BYTES})


def _checked_width(value: bytes, widths: set[int]) -> bytes:
    if len(value) not in widths:
        raise ValueError(f"expected {sorted(widths)} bytes, got {len(value)}")
    return value


def _packed_ids(values: pl.Series) -> pl.Series:
    return _checked_widths(values.str.decode("hex", strict=False))


def _checked_widths(values: pl.Series) -> pl.Series:
    if not (values.bin.size() == _ID_BYTES).fill_null(False).all():
        raise ValueError(f"{values.name or 'a column'}: every value must be {_ID_BYTES} bytes")
    return values
