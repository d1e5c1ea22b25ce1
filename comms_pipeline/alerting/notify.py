"""Tells people: what is new, what lasts and what is over, through Apprise. Decides nothing about what is wrong.

At least once: what could not be delivered is tried again with the next tick.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass

from comms_pipeline.alerting.rules import AGAIN_SECONDS, Severity
from comms_pipeline.domain.errors import InvalidSettings
from comms_pipeline.ledger import notices
from comms_pipeline.ledger.notices import Notice
from comms_pipeline.settings import Settings
from comms_pipeline.stores import Stores

_TARGET = re.compile(r"(?:(P[0-3])=)?([a-z][a-z0-9+.-]*://\S+)", re.IGNORECASE)
_TIMEOUT_SECONDS = 20.0
_LINES_SHOWN = 20
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """Where notices go. `url` is Apprise's and a credential; only what is at least as grave as `from_severity`."""

    from_severity: Severity
    url: str

    def __repr__(self) -> str:
        return f"Target({self.from_severity}, {self.url.split(':')[0]})"


def targets(settings: Settings) -> list[Target]:
    """Whom to tell, as `COMMS_NOTIFY` says: `P1=slack://… mailto://…`, blanks between.

    Raises `InvalidSettings` for what is no target; the setting's text, a credential, is never quoted.
    """
    found = []
    for place, entry in enumerate(settings.notify.get_secret_value().split(), start=1):
        match = _TARGET.fullmatch(entry)
        if match is None or not _is_known(match[2]):
            raise InvalidSettings(
                "COMMS_NOTIFY",
                f"entry {place} is no address that Apprise knows",
                "Write e.g. P1=slack://tokenA/tokenB/tokenC mailto://user:password@example.org",
            )
        found.append(Target(Severity((match[1] or Severity.P3).upper()), match[2]))
    return found


def tell(stores: Stores, to: Sequence[Target]) -> int:
    """Tell every target what it has to hear; returns how many notices were told.

    A notice counts as told when every target that wants it has it; with no target at all, when it is in the log.
    """
    now = stores.now()
    with stores.ledger() as ledger:
        waiting = notices.to_tell(ledger, {str(key): value for key, value in AGAIN_SECONDS.items()}, now)
        if not waiting:
            return 0
        for notice in waiting:
            _log.log(logging.INFO if notice.resolved_at else logging.WARNING, "%s", _line(notice))
        undelivered = {notice.notice_id for target in to for notice in _missed(target, waiting)}
        told = [notice.notice_id for notice in waiting if notice.notice_id not in undelivered]
        notices.mark_told(ledger, told, now)
    return len(told)


def send(target: Target, title: str, body: str, *, is_grave: bool) -> bool:
    """Hand one text to one target; whether it took it. Never raises: a broken notifier must not break the watch."""
    from apprise import Apprise, NotifyType

    # Apprise's own log lines quote addresses.
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    messenger = Apprise()
    try:
        messenger.add(target.url)
        kind = NotifyType.FAILURE if is_grave else NotifyType.INFO
        is_taken = bool(messenger.notify(title=title, body=body, notify_type=kind, timeout=_TIMEOUT_SECONDS))
    except Exception as error:
        _log.error("a notifier (%r) failed: %s", target, type(error).__qualname__)
        return False
    if not is_taken:
        _log.error("a notifier (%r) did not take a notice; it is tried again", target)
    return is_taken


def _missed(target: Target, waiting: Sequence[Notice]) -> list[Notice]:
    """The notices that a target wants and did not take. One text for all of them: a storm is one message."""
    wanted = [notice for notice in waiting if notice.severity <= target.from_severity]
    if not wanted:
        return []
    lasting = [notice for notice in wanted if notice.resolved_at is None]
    return [] if send(target, _title(wanted), _body(wanted), is_grave=bool(lasting)) else wanted


def _title(shown: Sequence[Notice]) -> str:
    lasting = [notice for notice in shown if notice.resolved_at is None]
    if not lasting:
        return f"comms: {len(shown)} over" if len(shown) > 1 else f"comms: over: {shown[0].subject}"
    worst = min(notice.severity for notice in lasting)
    what = lasting[0].subject if len(lasting) == 1 else f"{len(lasting)} alerts"
    return f"comms {worst}: {what}"


def _body(shown: Sequence[Notice]) -> str:
    lines = [_line(notice) for notice in shown[:_LINES_SHOWN]]
    if len(shown) > _LINES_SHOWN:
        lines.append(f"… and {len(shown) - _LINES_SHOWN} more: `comms alerts list`")
    return "\n".join(lines)


def _line(notice: Notice) -> str:
    if notice.resolved_at is not None:
        return f"Over since {notice.resolved_at:%Y-%m-%d %H:%M} UTC: {notice.subject}: {notice.what}."
    return f"{notice.severity} {notice.subject}: {notice.what}, since {notice.since:%Y-%m-%d %H:%M} UTC. {notice.fix}."


def _is_known(url: str) -> bool:
    from apprise import Apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    return Apprise.instantiate(url, suppress_exceptions=True) is not None
