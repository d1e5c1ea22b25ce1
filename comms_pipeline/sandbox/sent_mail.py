"""An accepted e-mail and all that is told of it: its events, its status, its text. Pure: no HTTP, no clock.

Shapes are those of SendGrid's event webhook and Email Logs API.
"""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import blake2b
from typing import Any, TypeVar

import orjson

from comms_pipeline.sandbox.mail import Link, Rendered, links, one_click_url, render, subject
from comms_pipeline.sandbox.recipients import Happening, Repeat, Step, email_steps
from comms_pipeline.sandbox.record import StoredMessage, StoredRequest

Event = dict[str, Any]
_T = TypeVar("_T")

SENDING_IP = "198.51.100.25"
HARD_BOUNCES = (
    ("550 5.1.1 The email account that you tried to reach does not exist", "5.1.1", "Invalid Address"),
    ("550 5.4.1 Recipient address rejected: Access denied", "5.4.1", "Invalid Address"),
    ("550 5.2.1 The email account that you tried to reach is disabled", "5.2.1", "Mailbox Unavailable"),
)
BLOCKS = (
    ("554 5.7.1 Message refused by the recipient's policy", "5.7.1", "Content"),
    ("421 4.7.0 Unusual rate of unsolicited mail from your IP", "4.7.0", "Reputation"),
    ("452 4.2.2 The recipient's mailbox is full", "4.2.2", "Mailbox Unavailable"),
)
_CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
PEOPLE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)",
    f"{_CHROME} Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_7) AppleWebKit/605.1.15 (KHTML, like Gecko)",
)
PRIVACY_PROXY = "Mozilla/5.0"
SCANNERS = (f"{_CHROME} HeadlessChrome/120.0.0.0", "Barracuda Sentinel (EE)", "python-requests/2.31.0")
STATUSES = {
    Happening.PROCESSED: "processed",
    Happening.DROPPED: "dropped",
    Happening.DEFERRED: "deferred",
    Happening.DELIVERED: "delivered",
    Happening.BOUNCED: "bounced",
    Happening.BOUNCED_LATE: "bounced",
    Happening.BLOCKED: "blocked",
}
"""The status of the Email Logs API after each happening; others leave it as it is."""


@dataclass(frozen=True, kw_only=True)
class SentMail:
    """One recipient's e-mail. Times are epoch seconds, `delay` is the event delay in seconds."""

    stored: StoredMessage
    request: StoredRequest
    skeleton: dict[str, Any]
    seed: int
    delay: float

    @cached_property
    def steps(self) -> list[Step]:
        return email_steps(self.seed, self.stored.address, self.stored.message_id)

    @cached_property
    def personalization(self) -> dict[str, Any]:
        loaded: dict[str, Any] = orjson.loads(self.stored.payload)
        return loaded

    @cached_property
    def rendered(self) -> Rendered:
        return render(self.skeleton, self.personalization, self.stored.address)

    @property
    def custom_args(self) -> dict[str, str]:
        return {**(self.skeleton.get("custom_args") or {}), **(self.personalization.get("custom_args") or {})}

    @property
    def sg_message_id(self) -> str:
        """X-Message-Id, a dot, and what identifies the recipient within the request."""
        request = self.request
        node = f"recvd-7c9f6d5b84-x2k9q-1-{int(request.accepted_at):X}-{request.request_id:X}"
        return f"{request.provider_id}.{node}.{self.stored.position}"

    @property
    def one_click_url(self) -> str | None:
        return one_click_url(self.rendered)

    def visits(self, step: Step) -> list[str]:
        """Where somebody goes in this step without the provider's noticing: scanners follow every link there is."""
        if step.what is not Happening.SCANNED or step.repeat:
            return []
        return [link.url for link in links(self.rendered) if not link.is_tracked]

    def visitor(self, step: Step) -> str:
        """The user agent of a scanner's visits."""
        return _choose(SCANNERS, step.chance)

    def due_at(self, step: Step) -> float:
        return self.stored.starts_at + step.after * self.delay

    def events(self, step: Step) -> list[Event]:
        """What the event webhook tells of one step: mostly one event, one a link for a scanner, or none."""
        details = self.details(step)
        return [self._event(step, detail, number) for number, detail in enumerate(details)]

    def log_entry(self, now: float) -> Event:
        """What `POST /v3/logs` lists."""
        status, reason = self.status(now)
        created = datetime.fromtimestamp(int(self.request.accepted_at), UTC)
        return {
            "from_email": (self.personalization.get("from") or self.skeleton["from"])["email"],
            "sg_message_id": self.sg_message_id,
            "subject": subject(self.skeleton, self.personalization),
            "to_email": self.stored.address,
            "reason": reason,
            "status": status,
            "sg_message_id_created_at": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def log_detail(self, now: float) -> Event:
        """What `GET /v3/logs/{id}` answers: custom arguments stay apart, machine readable as sent."""
        events = []
        for step in self.steps:
            if self.due_at(step) <= now and not step.repeat:
                for event in self.events(step):
                    args = {name: event.pop(name) for name in self.custom_args if name in event}
                    event["category"] = list(self.request.categories)
                    events.append({**event, "sg_message_id": self.sg_message_id, "custom_args": args})
        return {
            **self.log_entry(now),
            "api_key_id": "sandbox",
            "client_ip": "127.0.0.1",
            "category": list(self.request.categories),
            "custom_args": self.custom_args,
            "outbound_ip": SENDING_IP,
            "outbound_ip_type": "dedicated",
            "events": events[-100:],
        }

    def status(self, now: float) -> tuple[str, str]:
        """(status, reason) as of `now`, by the last happening that tells."""
        status, reason = "processed", ""
        for step in self.steps:
            if step.what in STATUSES and not step.repeat and self.due_at(step) <= now:
                status = STATUSES[step.what]
                detail = self.details(step)[0]
                reason = detail.get("reason") or detail.get("response") or ""
        return status, reason

    def _event(self, step: Step, detail: Event, number: int) -> Event:
        event: Event = {
            "email": self.stored.address,
            "timestamp": int(self.due_at(step)),
            "sg_event_id": self.event_id(step, number),
        }
        if step.what is not Happening.BOUNCED_LATE:
            event["sg_message_id"] = self.sg_message_id
            event["smtp-id"] = f"<{self.request.provider_id}@geopod-ismtpd-1>"
        categories = self.request.categories
        if categories:
            event["category"] = categories[0] if len(categories) == 1 else list(categories)
        # SendGrid lets custom arguments share the top level; its own fields win here.
        return {**self.custom_args, **event, **detail}

    def event_id(self, step: Step, number: int) -> str:
        """The id of one event of a step: another one for some repeats, as providers do."""
        known_as = step.what if step.repeat is not Repeat.NEW_ID else f"{step.what}-again"
        text = f"{self.request.provider_id}.{self.stored.position}.{known_as}.{number}"
        return urlsafe_b64encode(blake2b(text.encode(), digest_size=16).digest()).decode().rstrip("=")

    def details(self, step: Step) -> list[Event]:
        """What a step's events tell beyond whose they are."""
        match step.what:
            case Happening.PROCESSED:
                return [{"event": "processed"}]
            case Happening.DROPPED:
                return [{"event": "dropped", "reason": "Bounced Address", "status": "5.0.0"}]
            case Happening.DEFERRED:
                response = "421 4.7.0 Try again later"
                return [
                    {"event": "deferred", "response": response, "attempt": "1", "ip": SENDING_IP, "tls": 1}
                ]
            case Happening.DELIVERED:
                return [{"event": "delivered", "response": "250 2.0.0 OK", "ip": SENDING_IP, "tls": 1}]
            case Happening.BOUNCED | Happening.BOUNCED_LATE:
                return [_bounce("bounce", *_choose(HARD_BOUNCES, step.chance))]
            case Happening.BLOCKED:
                return [_bounce("blocked", *_choose(BLOCKS, step.chance))]
            case Happening.OPENED:
                return [
                    {"event": "open", "sg_content_type": "html", **_visitor(PEOPLE, step.chance, "192.0.2")}
                ]
            case Happening.OPENED_BY_MACHINE:
                visitor = _visitor((PRIVACY_PROXY,), step.chance, "198.51.100")
                return [{"event": "open", "sg_content_type": "html", "sg_machine_open": True, **visitor}]
            case Happening.CLICKED | Happening.SCANNED:
                return self._clicks(step)
            case Happening.UNSUBSCRIBED:
                return [{"event": "unsubscribe"}]
            case Happening.COMPLAINED:
                return [{"event": "spamreport"}]
        raise AssertionError(step.what)

    def _clicks(self, step: Step) -> list[Event]:
        found = [(index, link) for index, link in enumerate(links(self.rendered)) if link.is_tracked]
        if step.what is Happening.SCANNED:
            visitor = _visitor(SCANNERS, step.chance, "203.0.113")
        else:
            inviting = [(index, link) for index, link in found if not link.is_opt_out]
            found = [_choose(inviting, step.chance)] if inviting else []
            visitor = _visitor(PEOPLE, step.chance, "192.0.2")
        return [{"event": "click", **_target(index, link), **visitor} for index, link in found]


def _target(index: int, link: Link) -> Event:
    return {"url": link.url, "url_offset": {"index": index, "type": "html"}}


def _bounce(kind: str, reason: str, status: str, classification: str) -> Event:
    return {
        "event": "bounce",
        "type": kind,
        "reason": reason,
        "status": status,
        "bounce_classification": classification,
        "ip": SENDING_IP,
        "tls": 1,
    }


def _visitor(agents: tuple[str, ...], chance: float, network: str) -> Event:
    return {"useragent": _choose(agents, chance), "ip": f"{network}.{1 + int(chance * 254)}"}


def _choose(options: Sequence[_T], chance: float) -> _T:
    return options[int(chance * len(options))]
