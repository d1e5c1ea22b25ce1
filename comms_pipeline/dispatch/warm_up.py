"""Warms up a lane's new sending address: so many messages a day and no more, in the ledger as a quota of its own.

The quota `warm-up:LANE` follows the plan from day to day; what does not fit waits for the next day. Who counts it is
admission's business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

import psycopg

from comms_pipeline.dispatch.payload import pack, unpack
from comms_pipeline.ledger import limits, operations
from comms_pipeline.ledger.batches import Claim

DAILY_CAPS = (
    *(50, 100, 500, 1_000, 5_000),
    *(10_000, 20_000, 40_000, 70_000, 100_000),
    *(150_000, 250_000, 400_000, 600_000, 1_000_000),
)
"""Messages on each day of the warm-up; afterwards as many as one likes. The days are those of UTC, like quotas'.

After the schedule that SendGrid suggests for warming up a dedicated IP address by hand ("IP Warmup Schedule",
docs.sendgrid.com/ui/sending-email/warming-up-an-ip-address).
"""


def scope(lane: str) -> str:
    """The scope of the lane's quota while it warms up."""
    return f"warm-up:{lane}"


def cap_on(day: date, start: date) -> int | None:
    """How many messages may go on a day of a warm-up that begins on `start`; none before, None: no cap any more."""
    gone = (day - start).days
    if gone < 0:
        return 0
    return DAILY_CAPS[gone] if gone < len(DAILY_CAPS) else None


def refresh(connection: psycopg.Connection, plan: Mapping[str, date]) -> None:
    """Make the ledger's warm-up quotas those of today; `plan` is the first day by lane.

    Today is what Postgres says. Lanes that are warm, or no longer in the plan, lose their quota.
    """
    with connection.transaction():
        today = limits.today(connection)
        caps = {lane: cap_on(today, start) for lane, start in plan.items()}
        limits.keep_quotas(
            connection, "warm-up", [scope(lane) for lane, cap in caps.items() if cap is not None]
        )
        for lane, cap in sorted(caps.items()):
            if cap is not None:
                limits.put_quota(connection, scope(lane), "day", cap)


def cut(connection: psycopg.Connection, lane: str, claims: Sequence[Claim]) -> list[Claim]:
    """The claims, the first that is too large for what is left of the lane's day cut to fit; its rest waits.

    A quota lets a batch larger than itself go in a fresh period; a thousand messages would ruin a first day of fifty.
    """
    fitting = []
    # What has no warm-up has no period.
    left = sum(period.remaining for period in limits.open_periods(connection, [scope(lane)]))
    for claim in claims:
        going = _cut(connection, claim, left) if 0 < left < claim.message_count else claim
        fitting.append(going)
        left -= going.message_count
    return fitting


def _cut(connection: psycopg.Connection, claim: Claim, count: int) -> Claim:
    payload = unpack(claim.payload)
    kept, rest = payload.head(count), payload.slice(count)
    cut_off = replace(claim, payload=pack(kept), message_count=kept.height)
    operations.split_batch(
        connection, claim, kept=(cut_off.payload, kept.height), rest=(pack(rest), rest.height)
    )
    return cut_off
