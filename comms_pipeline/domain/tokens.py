"""Signed tokens for the links in messages: who, through what, which message. Ids only, no personal data.

A token is opaque, compact and never expires: an unsubscribe link must work for as long as the message
exists (CAN-SPAM asks for 30 days, CASL for 60). What a link *does* lives in `web`.

Layout, before base64url: version, key id, channel, length of the organisation (one byte each), organisation,
message id (16 bytes), contact id (16), address key (16 or none), MAC (16). The MAC is BLAKE2b keyed per
purpose, so a token made for one purpose means nothing to another.
"""

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from hmac import compare_digest

import polars as pl

from comms_pipeline.domain.errors import InvalidSettings
from comms_pipeline.domain.message import Channel

_VERSION = 1
_HEADER_BYTES = 4
_ID_BYTES = 16
_MAC_BYTES = 16
_MAX_CHARACTERS = 256
_CHANNEL_CODES = {Channel.EMAIL: 1, Channel.SMS: 2, Channel.WHATSAPP: 3}
_CHANNELS = {code: channel for channel, code in _CHANNEL_CODES.items()}


class Purpose(StrEnum):
    """What a token entitles its bearer to."""

    UNSUBSCRIBE = "unsubscribe"
    PREFERENCES = "preferences"
    CLICK = "click"
    OPEN = "open"
    CONFIRM = "confirm"


@dataclass(frozen=True, kw_only=True)
class TokenClaims:
    """What a verified token says. `address_key` is empty where the purpose does not need it."""

    organisation_id: str
    contact_id: str
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
        """Keys of an installation whose secret was never rotated."""
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
        contact_id: str,
        channel: Channel,
        message_id: str,
        address_key: bytes = b"",
    ) -> str:
        """A token. Ids are 32 hex digits, `address_key` is 16 bytes or empty.

        Raises `ValueError` for ids of another shape.
        """
        payload = b"".join(
            (
                self._header(organisation_id, channel),
                _packed_id(message_id),
                _packed_id(contact_id),
                _checked_width(address_key, {0, _ID_BYTES}),
            )
        )
        digest = _mac(self._key(purpose, self.current_id), payload)
        return urlsafe_b64encode(payload + digest).rstrip(b"=").decode()

    def sign_column(
        self,
        purpose: Purpose,
        *,
        organisation_id: str,
        contact_ids: pl.Series,
        channel: Channel,
        message_ids: pl.Series,
        address_keys: pl.Series | None = None,
    ) -> pl.Series:
        """`sign` for a whole column: ids as String, address keys as Binary; gives String, same order.

        Raises `ValueError` for nulls and ids of another shape.
        """
        columns = [_packed_ids(message_ids), _packed_ids(contact_ids)]
        if address_keys is not None:
            columns.append(_checked_widths(address_keys))
        header = self._header(organisation_id, channel)
        keyed = blake2b(key=self._key(purpose, self.current_id), digest_size=_MAC_BYTES)
        keyed.update(header)
        copy = keyed.copy

        def signed(body: bytes) -> bytes:
            digest = copy()
            digest.update(body)
            return header + body + digest.digest()

        rows = zip(*(column.to_list() for column in columns), strict=True)
        tokens = pl.Series("token", [signed(b"".join(row)) for row in rows], dtype=pl.Binary)
        encoded = tokens.bin.encode("base64").str.strip_chars_end("=")
        return encoded.str.replace_all("+", "-", literal=True).str.replace_all("/", "_", literal=True)

    def verify(self, token: str, purpose: Purpose) -> TokenClaims | None:
        """What the token says, or None for anything we did not sign for this purpose."""
        raw = _decoded(token)
        if raw is None or len(raw) < _HEADER_BYTES + 2 * _ID_BYTES + _MAC_BYTES:
            return None
        payload, digest = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        key_id = payload[1]
        if key_id not in self.secrets:
            return None
        if not compare_digest(_mac(self._key(purpose, key_id), payload), digest):
            return None
        return _claims(payload)

    def _key(self, purpose: Purpose, key_id: int) -> bytes:
        root = blake2b(self.secrets[key_id], digest_size=32, person=b"comms-tokens").digest()
        return blake2b(purpose.encode(), key=root, digest_size=32, person=b"comms-purpose").digest()

    def _header(self, organisation_id: str, channel: Channel) -> bytes:
        organisation = organisation_id.encode("ascii")
        return bytes((_VERSION, self.current_id, _CHANNEL_CODES[channel], len(organisation))) + organisation


def _mac(key: bytes, payload: bytes) -> bytes:
    return blake2b(payload, key=key, digest_size=_MAC_BYTES).digest()


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
    """Claims of a payload whose MAC was right; None for a version or channel of another release."""
    version, _, channel_code, organisation_length = payload[:_HEADER_BYTES]
    channel = _CHANNELS.get(channel_code)
    if version != _VERSION or channel is None:
        return None
    ids = payload[_HEADER_BYTES + organisation_length :]
    return TokenClaims(
        organisation_id=payload[_HEADER_BYTES:][:organisation_length].decode("ascii"),
        message_id=ids[:_ID_BYTES].hex(),
        contact_id=ids[_ID_BYTES : 2 * _ID_BYTES].hex(),
        channel=channel,
        address_key=ids[2 * _ID_BYTES :],
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
