"""What the messages of a batch have in common: skeletons and sender. No recipient, no personal data of theirs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import orjson

Skeleton = tuple[str | int, ...]
"""Literal text and slot numbers, in order: `("Hello ", 0, "!")`."""

_VARIABLE_PREFIX = "var."
_LATER_FIELDS: Mapping[str, object] = {"is_tracked": True, "content_sid": ""}
"""Fields that came later, with what went without saying before: left out where that holds, so that ids stay."""


def variable_part(number: str) -> str:
    """The name of the part that fills a Content template's placeholder of this number."""
    return _VARIABLE_PREFIX + number


@dataclass(frozen=True, kw_only=True)
class Content:
    """Shared by every message of a batch.

    `parts`: subject, html, text for e-mail; text for SMS and WhatsApp, or there one for each variable of a Content
    template (`variable_part`).
    """

    campaign_id: str
    parts: Mapping[str, Skeleton]
    sender: str
    """The From address of an e-mail, the number or service of a text; empty means the provider's default."""
    sender_name: str = ""
    reply_to: str = ""
    has_one_click: bool = False
    """Whether each recipient's `unsubscribe_url` goes into List-Unsubscribe headers (RFC 8058)."""
    is_tracked: bool = True
    """Whether the provider may note opens and clicks; it rewrites links for that."""
    content_sid: str = ""
    """The provider's own template that `variables` fill; empty for what we write ourselves."""

    @property
    def variables(self) -> dict[str, Skeleton]:
        """What fills a Content template, by placeholder number, in the order of the numbers."""
        found = {
            part.removeprefix(_VARIABLE_PREFIX): skeleton
            for part, skeleton in self.parts.items()
            if part.startswith(_VARIABLE_PREFIX)
        }
        return dict(sorted(found.items(), key=lambda item: int(item[0])))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        body = asdict(self)
        return {name: value for name, value in body.items() if value != _LATER_FIELDS.get(name, ...)}

    @property
    def content_id(self) -> str:
        """A digest of everything shared: equal contents have equal ids."""
        return sha256(orjson.dumps(self.to_dict(), option=orjson.OPT_SORT_KEYS)).hexdigest()

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> "Content":
        """The inverse of `to_dict`, also after a trip through JSON."""
        parts = {name: tuple(skeleton) for name, skeleton in body["parts"].items()}
        return cls(**{**body, "parts": parts})
