"""When what falls due, kept small: one integer per step, in buckets of time. Knows no messages, no clock."""

from array import array
from heapq import heappop, heappush

TICK_SECONDS = 0.25
STEPS_PER_MESSAGE = 64
"""`code = message_key * STEPS_PER_MESSAGE + index of the step`."""


class Agenda:
    """Steps by the tick in which they fall due; each tick is taken once. Times are epoch seconds."""

    def __init__(self, start: float) -> None:
        self._next_tick = int(start // TICK_SECONDS)
        self._ticks: list[int] = []
        self._buckets: dict[int, array[int]] = {}
        self._marks: dict[int, float] = {}
        self.waiting = 0
        """Steps not yet taken."""

    @property
    def mark(self) -> float:
        """Every step due before this time that was added has been taken."""
        return min(self._next_tick * TICK_SECONDS, *self._marks.values(), float("inf"))

    def add(self, message_key: int, index: int, due_at: float) -> None:
        """Enter a step; one that is late already is taken with the next tick."""
        tick = max(int(due_at // TICK_SECONDS), self._next_tick)
        if tick not in self._buckets:
            self._buckets[tick] = array("Q")
            self._marks[tick] = tick * TICK_SECONDS
            heappush(self._ticks, tick)
        self._buckets[tick].append(message_key * STEPS_PER_MESSAGE + index)
        self._marks[tick] = min(self._marks[tick], due_at)
        self.waiting += 1

    def take(self, now: float) -> tuple[float, list[tuple[int, int]]] | None:
        """The earliest tick that is over, or None: (no step is due before, [(message_key, step's index)])."""
        current = int(now // TICK_SECONDS)
        if not self._ticks or self._ticks[0] >= current:
            self._next_tick = max(self._next_tick, current)
            return None
        tick = heappop(self._ticks)
        codes = self._buckets.pop(tick)
        self._next_tick = tick + 1
        self.waiting -= len(codes)
        return self._marks.pop(tick), [divmod(code, STEPS_PER_MESSAGE) for code in codes]
