"""When a send would be through: rates, quotas and times of day, played through in advance. Pure.

Messages flow like water: what is due flows at its lane's rate, as far as the allowances of the hour and the day
reach. That a batch goes whole or not at all, that providers falter, and what other sends take, is not foreseen.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from math import inf

HORIZON = timedelta(days=366)
"""Whoever waits longer than this waits for ever."""
UNBOUND = "nothing: as fast as the providers take it"
BY_TIME_OF_DAY = "times at which messages are due"

_DROP = 1e-6
"""Less than this is none: a millionth of a message, or of a second."""


class Period(StrEnum):
    """What an allowance is for; each begins anew by UTC, as the ledger counts."""

    HOUR = "hour"
    DAY = "day"

    def ends(self, at: datetime) -> datetime:
        """When the period around `at` ends, and the next begins."""
        hour = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        return hour + timedelta(hours=1) if self is Period.HOUR else hour.replace(hour=0) + timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Wave:
    """Messages of one lane that are due at one time."""

    lane: str
    due_at: datetime
    messages: int


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """How many messages may go per hour or day. `used`: of the period under way. `lane`: of this one alone.

    `rising`: what the periods after this one allow, one by one, and then there is no limit any more (a warm-up).
    """

    name: str
    period: Period
    allowed: int
    used: int = 0
    lane: str | None = None
    rising: tuple[int, ...] = ()

    def covers(self, lane: str) -> bool:
        """Whether a lane's messages count against it."""
        return self.lane in (None, lane)

    def allowed_after(self, periods: int) -> float:
        """How many messages the period so many after this one allows."""
        if not self.rising:
            return self.allowed
        return self.rising[periods - 1] if periods <= len(self.rising) else inf

    def __str__(self) -> str:
        if self.rising:
            return f"{self.name}: {self.allowed:,} messages this {self.period}, then more"
        return f"{self.name}: {self.allowed:,} messages per {self.period}"


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """When the last message would go, and what it waits for longest; `finish_at` None: not within `HORIZON`."""

    finish_at: datetime | None
    bound_by: str


def forecast(
    waves: Iterable[Wave],
    *,
    start: datetime,
    per_second: Mapping[str, float],
    allowances: Sequence[Allowance] = (),
) -> Forecast:
    """Play the waves through from `start`. `per_second`: messages a second, of the lanes that have a limit."""
    coming = sorted((wave for wave in waves if wave.messages), key=lambda wave: wave.due_at)
    if not coming:
        return Forecast(finish_at=start, bound_by=UNBOUND)
    return _Course(start, coming, per_second, allowances).run()


@dataclass(kw_only=True)
class _Flow:
    """One lane. `waited`: seconds by cause since its latest wave came, which goes last."""

    lane: str
    per_second: float
    due_at: datetime
    pending: float = 0.0
    ended_at: datetime
    waited: dict[str, float] = field(default_factory=dict)


@dataclass(kw_only=True)
class _Vessel:
    """An allowance, and what is left of it in the period under way."""

    allowance: Allowance
    left: float
    renewals: int = 0


class _Course:
    """The play: time goes from one change to the next (a wave comes, a lane ends, an allowance ends or begins)."""

    def __init__(
        self,
        start: datetime,
        coming: list[Wave],
        per_second: Mapping[str, float],
        allowances: Sequence[Allowance],
    ) -> None:
        self._start = self._now = start
        self._coming = coming[::-1]
        self._flows = {
            lane: _Flow(lane=lane, per_second=per_second.get(lane, inf), due_at=start, ended_at=start)
            for lane in sorted({wave.lane for wave in coming})
        }
        self._vessels = [
            _Vessel(allowance=each, left=max(each.allowed - each.used, 0)) for each in allowances
        ]

    def run(self) -> Forecast:
        """Play to the end, or to the horizon."""
        while self._now - self._start < HORIZON:
            self._take_what_is_due()
            for flow in self._active():
                # What no rate holds back goes at once.
                if flow.per_second == inf:
                    self._pour(flow, min([flow.pending, *(each.left for each in self._vessels_of(flow))]))
            if not self._coming and not self._active():
                last = max(self._flows.values(), key=lambda flow: flow.ended_at)
                return Forecast(finish_at=last.ended_at, bound_by=self._longest_wait(last))
            self._go_on()
        stuck = max(self._flows.values(), key=lambda flow: flow.pending)
        return Forecast(finish_at=None, bound_by=self._longest_wait(stuck))

    def _active(self) -> list[_Flow]:
        return [flow for flow in self._flows.values() if flow.pending]

    def _vessels_of(self, flow: _Flow) -> list[_Vessel]:
        return [each for each in self._vessels if each.allowance.covers(flow.lane)]

    def _take_what_is_due(self) -> None:
        while self._coming and self._coming[-1].due_at <= self._now:
            wave = self._coming.pop()
            flow = self._flows[wave.lane]
            flow.pending += wave.messages
            flow.due_at = max(wave.due_at, self._start)
            flow.waited = {}

    def _go_on(self) -> None:
        """Let the lanes flow until the next change."""
        going = [flow for flow in self._active() if all(each.left for each in self._vessels_of(flow))]
        steps = [
            (each.allowance.period.ends(self._now) - self._now).total_seconds() for each in self._vessels
        ]
        if self._coming:
            steps.append((self._coming[-1].due_at - self._now).total_seconds())
        steps += [flow.pending / flow.per_second for flow in going]
        for vessel in self._vessels:
            drain = sum(flow.per_second for flow in going if vessel.allowance.covers(flow.lane))
            if drain:
                steps.append(vessel.left / drain)
        seconds = max(min(steps), _DROP)
        begun, self._now = self._now, self._now + timedelta(seconds=seconds)
        for flow in self._active():
            if flow in going:
                _note(flow, f"rate of {flow.lane}: {flow.per_second:,.10g} messages a second", seconds)
                self._pour(flow, min(flow.pending, flow.per_second * seconds))
            else:
                _note(flow, str(self._fullest(flow)), seconds)
        for vessel in self._vessels:
            if self._now >= vessel.allowance.period.ends(begun):
                vessel.renewals += 1
                vessel.left = vessel.allowance.allowed_after(vessel.renewals)

    def _pour(self, flow: _Flow, messages: float) -> None:
        flow.pending = _rounded(flow.pending - messages)
        for each in self._vessels_of(flow):
            each.left = _rounded(each.left - messages)
        if not flow.pending:
            flow.ended_at = self._now

    def _fullest(self, flow: _Flow) -> Allowance:
        """Of the allowances that are used up, the one that begins anew last."""
        empty = [each.allowance for each in self._vessels_of(flow) if not each.left]
        return max(empty, key=lambda each: each.period.ends(self._now))

    def _longest_wait(self, flow: _Flow) -> str:
        waited = {BY_TIME_OF_DAY: (flow.due_at - self._start).total_seconds(), **flow.waited}
        cause = max(waited, key=lambda each: waited[each])
        return cause if waited[cause] >= 1 else UNBOUND


def _note(flow: _Flow, cause: str, seconds: float) -> None:
    flow.waited[cause] = flow.waited.get(cause, 0) + seconds


def _rounded(amount: float) -> float:
    return amount if amount > _DROP else 0.0
