"""How often one client may call one receiver: in memory, for this process alone. A flood costs next to nothing."""

import time
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address

from comms_pipeline.domain.rate import Rate

MOST_CLIENTS = 10_000
"""Of more, those not heard of for longest are forgotten: they begin anew."""


class ClientRates:
    """A bucket for each client and provider, by the generic cell rate algorithm (ITU-T I.371)."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1 / rate.per_second
        self._tolerance = (rate.burst - 1) * self._interval
        self._clock = clock
        # When the bucket will be empty again, the client heard of last at the end.
        self._empty_at: dict[tuple[str, str], float] = {}

    def wait(self, provider: str, client: str) -> float:
        """Take a request's place: 0 when it may pass, else in how many seconds one may."""
        key, now = (provider, _network(client)), self._clock()
        empty_at = max(self._empty_at.pop(key, now), now)
        wait = empty_at - now - self._tolerance
        self._empty_at[key] = empty_at if wait > 0 else empty_at + self._interval
        if len(self._empty_at) > MOST_CLIENTS:
            del self._empty_at[next(iter(self._empty_at))]
        return max(wait, 0.0)


@lru_cache(maxsize=1024)
def _network(client: str) -> str:
    """The client, or of IPv6 its /64: whoever has one address has all of them."""
    if ":" not in client:
        return client
    try:
        return str(int(IPv6Address(client.partition("%")[0])) >> 64)
    except ValueError:
        return client
