"""The addresses of the links in messages: one definition for those who write them and those who answer them.

Columns of signed links per recipient, and which targets a click may lead to. What the links do lives in
`web`, what their tokens say in `tokens`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

import polars as pl

from comms_pipeline.domain.errors import CommsError
from comms_pipeline.domain.event import without_addresses
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.tokens import Purpose, TokenKeys

PATHS: Mapping[Purpose, str] = {
    Purpose.UNSUBSCRIBE: "/u/",
    Purpose.PREFERENCES: "/p/",
    Purpose.CONFIRM: "/y/",
    Purpose.OPEN: "/o/",
    Purpose.CLICK: "/c/",
    Purpose.TRAP: "/t/",
}
"""What comes before the token, for each purpose."""
MAX_TARGET_CHARACTERS = 2000

_HTTPS = "https://"
_TARGET_PARAMETER = "to="
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# A host or nothing: no user before an @, no bare IPv6, no letters that look like others (IDN goes as xn--).
_ORIGIN = rf"{_HTTPS}{_LABEL}(?:\.{_LABEL})*(?::[0-9]{{1,5}})?"
# The characters of RFC 3986, so that every browser reads the same address as we do.
_REST = r"(?:[/?#][A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*)?"
# All of those that mean something in a query; ":", "/", "?" and "=" may stand in one as they are.
_QUOTED = {character: quote(character, safe="") for character in "%&#+[]@!$'()*,;"}


class UnsafeTarget(CommsError):
    """A link in a message leads where we do not redirect to."""


@dataclass(frozen=True, kw_only=True)
class Links:
    """Signed links of one organisation's messages on one channel, as columns.

    `recipients` has a row per message: `message_id` and `contact_id` (String, 32 hex digits) and `address_key`
    (Binary, 16 bytes). Every column of links is String, in the same order, without nulls. All links of one
    kind (and target) are of the same length. Raises `ValueError` for nulls and ids of another shape.

    Where every character is paid for, in text messages, tokens leave the contact out. The address key stays:
    an opt-out must need nothing but the ledger, which forgets a message's address once it is sent.
    """

    keys: TokenKeys
    public_url: str
    organisation_id: str
    channel: Channel

    def unsubscribe_urls(self, recipients: pl.DataFrame) -> pl.Series:
        """Where each recipient's address stops getting messages."""
        return self._address_urls(Purpose.UNSUBSCRIBE, recipients)

    def preferences_urls(self, recipients: pl.DataFrame) -> pl.Series:
        """Where each recipient sees and changes what they get."""
        return self._address_urls(Purpose.PREFERENCES, recipients)

    def confirm_urls(self, recipients: pl.DataFrame) -> pl.Series:
        """Where each recipient confirms that messages are wanted (double opt-in)."""
        return self._address_urls(Purpose.CONFIRM, recipients)

    def open_urls(self, recipients: pl.DataFrame) -> pl.Series:
        """The tracking pixel of each message."""
        return self._message_urls(Purpose.OPEN, recipients)

    def trap_urls(self, recipients: pl.DataFrame) -> pl.Series:
        """The link of each message that no person sees, and whoever follows every link follows."""
        return self._message_urls(Purpose.TRAP, recipients)

    def click_urls(self, recipients: pl.DataFrame, target: str | pl.Series) -> pl.Series:
        """Links that lead to `target`, one for all or one (String) for each, by way of us.

        The target stands in the link without its "https://". Raises `UnsafeTarget`.
        """
        is_shared = isinstance(target, str)
        targets = pl.Series("target", [target]) if isinstance(target, str) else target
        self._refuse_unsafe(targets, is_shared=is_shared)
        tokens = self.keys.click_column(
            target,
            organisation_id=self.organisation_id,
            channel=self.channel,
            message_ids=recipients["message_id"],
        )
        shown = targets.str.strip_prefix(_HTTPS).str.replace_many(_QUOTED)
        ending = shown.item() if is_shared else shown
        return self._urls(Purpose.CLICK, tokens) + f"?{_TARGET_PARAMETER}" + ending

    def _message_urls(self, purpose: Purpose, recipients: pl.DataFrame) -> pl.Series:
        tokens = self.keys.sign_column(
            purpose,
            organisation_id=self.organisation_id,
            channel=self.channel,
            message_ids=recipients["message_id"],
        )
        return self._urls(purpose, tokens)

    def _address_urls(self, purpose: Purpose, recipients: pl.DataFrame) -> pl.Series:
        tokens = self.keys.sign_column(
            purpose,
            organisation_id=self.organisation_id,
            channel=self.channel,
            message_ids=recipients["message_id"],
            contact_ids=None if self.channel is Channel.SMS else recipients["contact_id"],
            address_keys=recipients["address_key"],
        )
        return self._urls(purpose, tokens)

    def _urls(self, purpose: Purpose, tokens: pl.Series) -> pl.Series:
        return (f"{self.public_url}{PATHS[purpose]}" + tokens).alias(f"{purpose}_url")

    def _refuse_unsafe(self, targets: pl.Series, *, is_shared: bool) -> None:
        is_safe = targets.str.contains(f"^(?:{_pattern(self.public_url)})$").fill_null(False)
        unsafe = targets.filter(~(is_safe & (targets.str.len_bytes() <= MAX_TARGET_CHARACTERS)))
        if unsafe.len() == 0:
            return
        # What all recipients get is the author's text; what each gets may say who they are.
        culprit = without_addresses(repr(unsafe[0]))[:100] if is_shared else f"{unsafe.len()} of a column"
        raise UnsafeTarget(
            f"link to {culprit}",
            f"not an absolute https address of at most {MAX_TARGET_CHARACTERS:,} plain characters",
            "Write it as browsers copy it, such as https://example.org/tickets?day=2",
        )


def is_safe_target(target: str, public_url: str) -> bool:
    """Whether we redirect to `target`: absolute https, or the http address of this installation itself."""
    return (
        len(target) <= MAX_TARGET_CHARACTERS and re.fullmatch(_pattern(public_url), target, re.A) is not None
    )


def click_target(query: str) -> str | None:
    """Where the raw query of a click link says it leads to, to be verified; None when it says nothing.

    Mail gateways and senders' analytics decode, encode and append: a bare "+" is a plus and what comes after
    "&" is not ours.
    """
    first = query.partition("&")[0]
    if not first.startswith(_TARGET_PARAMETER):
        return None
    shown = unquote(first.removeprefix(_TARGET_PARAMETER))
    return shown if shown.startswith("http://") else _HTTPS + shown


def _pattern(public_url: str) -> str:
    """The targets allowed, in the syntax that Python and Polars share; for whole texts."""
    if public_url.startswith("http://"):
        return f"(?:{_ORIGIN}|{re.escape(public_url)}){_REST}"
    return _ORIGIN + _REST
