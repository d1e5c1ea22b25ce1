"""How recipients behave: pure functions of the seed, the address and the message. No clock, no HTTP.

Whether an address takes mail depends on the seed and the address alone, so a bouncing address bounces
each time; what its owner does with a message depends on the message as well. Every share is of the messages
named, decided by digests, never by the order of anything.

Addresses can force an outcome. E-mail, by how the local part begins:

| begins with | outcome |
|---|---|
| `bounce` | hard bounce |
| `async` | delivered, then a late bounce without `sg_message_id` |
| `blocked` | blocked for now (`bounce` event of type `blocked`) |
| `defer` | deferred once, then delivered |
| `drop` | dropped by the provider before it tries |
| `open` | delivered, opened by a person |
| `click` | delivered, opened and one link clicked by a person |
| `machine` | delivered, opened by a privacy proxy, every link followed by a scanner |
| `unsub` | delivered, opened, unsubscribes |
| `complain` | delivered, opened, reports spam |
| `quiet` | delivered, nothing more |

Text messages, by the number's last four digits:

| ends with | outcome |
|---|---|
| `0001` | delivered, replies STOP; refused with 21610 from then on |
| `0002` | refused: 21211, not a valid number |
| `0003` | undelivered, 30005 unknown handset |
| `0004` | undelivered, 30003 unreachable handset |
| `0005` | undelivered, 30006 landline or unreachable carrier |
| `0006` | refused: 21614, not a mobile number |
| `0007` | delivered; the callback `sent` comes after `delivered` |
| `0008` | delivered, in order |
| `0009` | refused: 21610, replied STOP long ago |
| `0010` | delivered, replies "Thank you!" |

The same on WhatsApp, where those who cannot be reached have no account (63024), `0010` and most people read what they
get, and free text that answers nobody is undelivered (63016).
"""

import math
import struct
from enum import StrEnum
from hashlib import blake2b
from typing import NamedTuple, TypeVar

_T = TypeVar("_T")
_DRAWS = struct.Struct("<32H")

HORIZON = 64.0
"""No step comes later than this many times the event delay."""


class Happening(StrEnum):
    """What can befall a message, in one vocabulary for e-mail and text messages."""

    PROCESSED = "processed"
    DROPPED = "dropped"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    BOUNCED_LATE = "bounced_late"
    BLOCKED = "blocked"
    OPENED = "opened"
    OPENED_BY_MACHINE = "opened_by_machine"
    CLICKED = "clicked"
    SCANNED = "scanned"
    UNSUBSCRIBED = "unsubscribed"
    COMPLAINED = "complained"
    QUEUED = "queued"
    SENT = "sent"
    UNDELIVERED = "undelivered"
    STOPPED = "stopped"
    REPLIED = "replied"
    """Wrote back, something else than STOP."""


class Repeat(StrEnum):
    """Providers post some events twice; with the same event id, or with a new one."""

    NO = ""
    SAME_ID = "same_id"
    NEW_ID = "new_id"


class Step(NamedTuple):
    """What happens `after` event delays from the message's start. `chance` (0–1) picks among equals."""

    after: float
    what: Happening
    chance: float
    code: int = 0
    """Twilio's error code of an undelivered message."""
    repeat: Repeat = Repeat.NO


class EmailFate(StrEnum):
    """What an e-mail address does with whatever comes."""

    DELIVERED = "delivered"
    BOUNCED = "bounced"
    BOUNCED_LATE = "bounced_late"
    BLOCKED = "blocked"
    DEFERRED = "deferred"
    DROPPED = "dropped"


EMAIL_SHARES = (
    (EmailFate.BOUNCED, 0.013),
    (EmailFate.BOUNCED_LATE, 0.002),
    (EmailFate.BLOCKED, 0.007),
    (EmailFate.DEFERRED, 0.008),
    (EmailFate.DROPPED, 0.004),
)
"""Shares of addresses; the rest is delivered at once."""
FORCED_FATES = {
    "bounce": EmailFate.BOUNCED,
    "async": EmailFate.BOUNCED_LATE,
    "blocked": EmailFate.BLOCKED,
    "defer": EmailFate.DEFERRED,
    "drop": EmailFate.DROPPED,
}
PROXIED_SHARE = 0.25
SCANNED_SHARE = 0.03
OPEN_RATES = ((0.3, 0.0), (0.8, 0.35), (1.0, 0.875))
"""Habits: (cumulative share of addresses, how often they open). 35 % of delivered messages in all."""
CLICK_PER_OPEN = 0.23
UNSUBSCRIBE_PER_OPEN = 0.0115
COMPLAINT_PER_OPEN = 0.003
REPEATED_SHARE = 0.01


class Acts(NamedTuple):
    """What a recipient does with one delivered e-mail."""

    opens: bool = False
    clicks: bool = False
    proxied: bool = False
    scanned: bool = False
    unsubscribes: bool = False
    complains: bool = False


FORCED_ACTS = {
    "async": Acts(),
    "quiet": Acts(),
    "open": Acts(opens=True),
    "click": Acts(opens=True, clicks=True),
    "machine": Acts(proxied=True, scanned=True),
    "unsub": Acts(opens=True, unsubscribes=True),
    "complain": Acts(opens=True, complains=True),
}

_FATE_WORDS, _ACT_WORDS = tuple(FORCED_FATES), tuple(FORCED_ACTS)

_LAST_FORCED = "0010"
FORCED_REFUSALS = {"0002": 21211, "0006": 21614, "0009": 21610}
FORCED_UNDELIVERED = {"0003": 30005, "0004": 30003, "0005": 30006}
UNDELIVERED_SHARES = ((30003, 0.015), (30005, 0.007), (30006, 0.008))
STOP_SHARE = 0.005
SWAPPED_SHARE = 0.03
WITHOUT_WHATSAPP, OUTSIDE_WINDOW = 63024, 63016
READ_SHARE = 0.7


def chances(seed: int, *parts: str) -> tuple[float, ...]:
    """32 numbers, each strictly between 0 and 1, that depend on nothing but the arguments."""
    digest = blake2b("\x1f".join((str(seed), *parts)).encode(), digest_size=64).digest()
    return tuple([(number + 0.5) / 65536 for number in _DRAWS.unpack(digest)])


def email_fate(seed: int, address: str) -> EmailFate:
    """What becomes of mail to this address, the same for every message."""
    address = address.lower()
    return _fate(address, chances(seed, address))


def email_steps(seed: int, address: str, message: str) -> list[Step]:
    """All that happens to one e-mail, repeats included, in order of time."""
    address = address.lower()
    habits, draws = chances(seed, address), chances(seed, address, message)
    fate = _fate(address, habits)
    if fate is EmailFate.DROPPED:
        return _with_repeats([Step(0.1, Happening.DROPPED, draws[8])], draws)
    steps = [Step(0.1, Happening.PROCESSED, draws[8])]
    arrival = 0.2 + 0.8 * _spread(draws[9], 8)
    if fate is EmailFate.BOUNCED or fate is EmailFate.BLOCKED:
        what = Happening.BOUNCED if fate is EmailFate.BOUNCED else Happening.BLOCKED
        return _with_repeats([*steps, Step(arrival, what, draws[10])], draws)
    if fate is EmailFate.DEFERRED:
        steps.append(Step(arrival, Happening.DEFERRED, draws[10]))
        arrival *= 3
    steps.append(Step(arrival, Happening.DELIVERED, draws[11]))
    if fate is EmailFate.BOUNCED_LATE:
        steps.append(Step(arrival + 4 + 8 * draws[12], Happening.BOUNCED_LATE, draws[12]))
        return _with_repeats(steps, draws)
    steps += _engagement(_acts(address, habits, draws), arrival, draws)
    return _with_repeats(sorted(steps), draws)


def _fate(address: str, habits: tuple[float, ...]) -> EmailFate:
    if address.startswith(_FATE_WORDS):
        return next(fate for word, fate in FORCED_FATES.items() if address.startswith(word))
    if address.startswith(_ACT_WORDS):
        return EmailFate.DELIVERED
    return _pick(habits[0], EMAIL_SHARES) or EmailFate.DELIVERED


def _acts(address: str, habits: tuple[float, ...], draws: tuple[float, ...]) -> Acts:
    if address.startswith(_ACT_WORDS):
        return next(acts for word, acts in FORCED_ACTS.items() if address.startswith(word))
    opens = draws[0] < next(rate for share, rate in OPEN_RATES if habits[1] < share)
    return Acts(
        opens=opens,
        clicks=opens and draws[1] < CLICK_PER_OPEN,
        proxied=habits[2] < PROXIED_SHARE,
        scanned=habits[3] < SCANNED_SHARE,
        unsubscribes=opens and draws[2] < UNSUBSCRIBE_PER_OPEN,
        complains=opens and draws[3] < COMPLAINT_PER_OPEN,
    )


def _engagement(acts: Acts, arrival: float, draws: tuple[float, ...]) -> list[Step]:
    steps = []
    if acts.scanned:
        steps.append(Step(arrival + 0.1 + 0.5 * draws[13], Happening.SCANNED, draws[13]))
    if acts.proxied:
        steps.append(Step(arrival + 0.2 + draws[14], Happening.OPENED_BY_MACHINE, draws[14]))
    if not acts.opens:
        return steps
    # People take their time, also where events follow within seconds (a delay of 0.3 s): who is quicker than 2 s with
    # an open or 5 s with a click counts as a machine.
    opened = arrival + 8 + 2 * _spread(draws[15], 8)
    clicked = opened + 9 + _spread(draws[16], 8)
    steps.append(Step(opened, Happening.OPENED, draws[17]))
    if acts.clicks:
        steps.append(Step(clicked, Happening.CLICKED, draws[18]))
    if acts.unsubscribes:
        steps.append(Step(clicked + 2, Happening.UNSUBSCRIBED, draws[19]))
    if acts.complains:
        steps.append(Step(clicked + 3, Happening.COMPLAINED, draws[20]))
    return steps


def sms_refusal(address: str) -> int | None:
    """The error code with which this number is refused at once, by its last digits."""
    return FORCED_REFUSALS.get(address[-4:])


def sms_steps(seed: int, address: str, message: str, *, has_service: bool) -> list[Step]:
    """All that happens to one text message after its first status, in order of time.

    A message sent through a Messaging Service is first `accepted` and reports `queued` as well.
    """
    draws = chances(seed, address, message)
    steps = [Step(0.1, Happening.QUEUED, draws[8])] if has_service else []
    sent = 0.2 + 0.3 * draws[9]
    arrival = sent + 0.65 * _spread(draws[10], 8)
    code = _undelivered_code(seed, address)
    if code:
        final = Step(arrival, Happening.UNDELIVERED, draws[11], code)
        return [*steps, Step(sent, Happening.SENT, draws[12]), final]
    ending = address[-4:]
    is_swapped = ending == "0007" or (draws[13] < SWAPPED_SHARE and ending not in {"0008", "0010"})
    report = arrival + 0.4 if is_swapped else sent
    steps += [Step(report, Happening.SENT, draws[12]), Step(arrival, Happening.DELIVERED, draws[11])]
    reply = arrival + 2 + 3 * _spread(draws[15], 8)
    if ending == "0001" or (draws[14] < STOP_SHARE and ending > _LAST_FORCED):
        steps.append(Step(reply, Happening.STOPPED, draws[15]))
    if ending == "0010":
        steps.append(Step(reply, Happening.REPLIED, draws[15]))
    return sorted(steps)


def whatsapp_steps(
    seed: int, address: str, message: str, *, has_service: bool, is_outside_window: bool
) -> list[Step]:
    """All that happens to one WhatsApp message after its first status, in order of time."""
    steps = sms_steps(seed, address, message, has_service=has_service)
    if is_outside_window:
        queued = [step for step in steps if step.what is Happening.QUEUED]
        draw = chances(seed, address, message)[11]
        return [*queued, Step(0.2 + 0.3 * draw, Happening.UNDELIVERED, draw, OUTSIDE_WINDOW)]
    steps = [step._replace(code=WITHOUT_WHATSAPP) if step.code else step for step in steps]
    draws = chances(seed, address, message)
    ending = address[-4:]
    if ending == "0010" or (draws[16] < READ_SHARE and ending > _LAST_FORCED):
        arrived = [step.after for step in steps if step.what is Happening.DELIVERED]
        steps += [Step(after + 8 + draws[17], Happening.OPENED, draws[17]) for after in arrived]
    return sorted(steps)


def _undelivered_code(seed: int, address: str) -> int:
    ending = address[-4:]
    if ending <= _LAST_FORCED:
        return FORCED_UNDELIVERED.get(ending, 0)
    return _pick(chances(seed, address)[0], UNDELIVERED_SHARES) or 0


def _with_repeats(steps: list[Step], draws: tuple[float, ...]) -> list[Step]:
    repeated = []
    for step, draw in zip(steps, draws[22:], strict=False):
        if draw < REPEATED_SHARE:
            repeat = Repeat.SAME_ID if draw < REPEATED_SHARE / 2 else Repeat.NEW_ID
            repeated.append(step._replace(after=step.after + 2 + 8 * step.chance, repeat=repeat))
    return steps + repeated


def _spread(chance: float, most: float) -> float:
    """A log-logistic length of time with median 1, cut at `most`."""
    return min(math.pow(chance / (1 - chance), 0.4), most)


def _pick(chance: float, shares: tuple[tuple[_T, float], ...]) -> _T | None:
    for kind, share in shares:
        if chance < share:
            return kind
        chance -= share
    return None
