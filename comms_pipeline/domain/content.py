"""What the messages of a batch have in common: skeletons and sender. No recipient, no personal data of theirs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import orjson

Skeleton = tuple[str | int, ...]
"""Literal text and slot numbers, in order: `("Hello ", 0, "!")`."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """Shared by every message of a batch. `parts`: subject, html, text for e-mail; text for SMS."""

    campaign_id: str
    parts: Mapping[str, Skeleton]
    sender: str
    """The From address of an e-mail, the number or service of an SMS; empty means the provider's default."""
    sender_name: str = ""
    reply_to: str = ""
    has_one_click: bool = False
    """Whether each recipient's `unsubscribe_url` goes into List-Unsubscribe headers (RFC 8058)."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    @property
    def content_id(self) -> str:
        """A digest of everything shared: equal contents have equal ids."""
        return sha256(orjson.dumps(self.to_dict(), option=orjson.OPT_SORT_KEYS)).hexdigest()

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> "Content":
        """The inverse of `to_dict`, also after a trip through JSON."""
        parts = {name: tuple(skeleton) for name, skeleton in body["parts"].items()}
        return cls(**{**body, "parts": parts})
