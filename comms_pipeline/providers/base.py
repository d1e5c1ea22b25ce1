"""What every sending provider is given and answers. No HTTP, no provider by name."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

import polars as pl

from comms_pipeline.domain.content import Content, Skeleton
from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.outcome import OutcomeStatus, RejectReason

RESULTS = pl.Schema(
    {
        "message_id": pl.String,
        "status": pl.String,
        "reason": pl.String,
        "code": pl.String,
        "provider_message_id": pl.String,
    }
)
"""Columns of a results frame: one row per message; `status` is an `OutcomeStatus`, `reason` a `RejectReason`."""


Pace = Callable[[], Awaitable[float]]
"""Waits for a request's turn: 0 when it may go, else the seconds until it could, which is later than it may."""


async def at_once() -> float:
    """The pace of those who need not wait."""
    return 0.0


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """A batch ready to go.

    `recipients` has one row per message: `message_id`, `address`, slots `s0`…`sN` (String), and
    `unsubscribe_url` where the content has one-click headers. `pace` is awaited before every request; what may
    not go is `DEFERRED` by the seconds it says.
    """

    batch_id: int
    send_id: str
    organisation_id: str
    content: Content
    recipients: pl.DataFrame
    pace: Pace = at_once

    @property
    def category(self) -> str:
        """The batch's name at the provider; what reconciliation asks for. No campaign id has a colon."""
        return f"batch:{self.batch_id}"


@dataclass(frozen=True, kw_only=True)
class SendReport:
    """What became of an envelope. `results` covers each of its messages exactly once.

    `DEFERRED` means surely not sent. `retry_after_seconds` is the provider's own wish. `error` is a short
    text without personal data. `stop` is set when no further batch of this lane can succeed, `is_throttled` when
    the provider said that there were too many.
    """

    results: pl.DataFrame
    retry_after_seconds: float | None = None
    error: str | None = None
    stop: ProviderMisconfigured | None = None
    is_throttled: bool = False


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a provider takes. `concurrency` counts batches in flight."""

    batch_size: int
    concurrency: int
    slot_bytes: int | None = None
    """Most bytes of slot values and their tags per message, where the provider fills the skeleton itself."""


class Provider(Protocol):
    """One account at one provider, for one channel. Opened before use: `async with provider`."""

    name: str
    channel: Channel
    limits: Limits

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def send(self, envelope: Envelope) -> SendReport:
        """Send once. Never raises for what a provider can do; never retries by itself."""
        ...

    async def find(self, envelope: Envelope, since: datetime, until: datetime) -> "Found | None":
        """What the provider's own record says of messages in doubt; `None` when it is not conclusive."""
        ...


@dataclass(frozen=True, kw_only=True)
class Found:
    """A conclusive answer: provider ids of accepted messages by our id; all others were not accepted."""

    accepted: dict[str, str] = field(default_factory=dict)


def same_result(
    recipients: pl.DataFrame,
    status: OutcomeStatus,
    *,
    reason: RejectReason | None = None,
    code: str | None = None,
    provider_message_id: str | None = None,
) -> pl.DataFrame:
    """A results frame in which every message fared alike."""
    return recipients.select(
        pl.col("message_id"),
        status=pl.lit(str(status), pl.String),
        reason=pl.lit(str(reason) if reason else None, pl.String),
        code=pl.lit(code, pl.String),
        provider_message_id=pl.lit(provider_message_id, pl.String),
    )


def joined(skeleton: Skeleton, recipients: pl.DataFrame) -> pl.Series:
    """The full text of one part for every recipient: skeleton and slots joined as columns."""
    pieces = [pl.col(f"s{piece}") if isinstance(piece, int) else pl.lit(piece) for piece in skeleton]
    if not pieces:
        return pl.repeat("", recipients.height, eager=True, dtype=pl.String)
    # A frame of literals only would collapse to one row.
    rows = pl.col("message_id").str.head(0)
    return recipients.select(text=pl.concat_str([rows, *pieces]))["text"]
