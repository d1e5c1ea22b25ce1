"""A message accepted by Mailgun's stand-in, its events and the webhooks that tell of them. Pure.

Shapes are those of Mailgun's webhook payloads.
"""

from collections.abc import Callable
from functools import cached_property
from hashlib import blake2b
from typing import Any

import orjson

from comms_pipeline.sandbox import mailgun_rules
from comms_pipeline.sandbox.mail import Rendered
from comms_pipeline.sandbox.recipients import Step
from comms_pipeline.sandbox.sent_mail import Event, SentMail

Told = dict[str, Any]
PATH = "/webhooks/mailgun"
_NEVER_TRIED = 605


def _failure(severity: str, reason: str, **status: str) -> Callable[[Event], Told]:
    def told(detail: Event) -> Told:
        said = detail.get("reason") or detail["response"]
        code = said.partition(" ")[0]
        delivery = {
            "attempt-no": 1,
            "code": int(code) if code.isdecimal() else _NEVER_TRIED,
            "enhanced-code": detail.get("status", ""),
            "message": said,
            "description": "",
        }
        return {"severity": severity, "reason": reason, "delivery-status": delivery | status}

    return told


def _visit(detail: Event) -> Told:
    bot = "apple" if detail.get("sg_machine_open") else ""
    told = {"ip": detail["ip"], "client-info": {"user-agent": detail["useragent"], "bot": bot}}
    return told | ({"url": detail["url"]} if "url" in detail else {})


def _delivery(_detail: Event) -> Told:
    return {
        "delivery-status": {"attempt-no": 1, "code": 250, "message": "OK", "description": "", "tls": True}
    }


def _nothing(_detail: Event) -> Told:
    return {}


_EVENTS: dict[tuple[str, str], tuple[str, Callable[[Event], Told]]] = {
    ("processed", ""): ("accepted", _nothing),
    ("dropped", ""): ("failed", _failure("permanent", "suppress-bounce")),
    ("deferred", ""): ("failed", _failure("temporary", "generic")),
    ("delivered", ""): ("delivered", _delivery),
    ("bounce", "bounce"): ("failed", _failure("permanent", "bounce", **{"bounce-type": "hard"})),
    ("bounce", "blocked"): ("failed", _failure("permanent", "generic", **{"bounce-type": "soft"})),
    ("open", ""): ("opened", _visit),
    ("click", ""): ("clicked", _visit),
    ("unsubscribe", ""): ("unsubscribed", _nothing),
    ("spamreport", ""): ("complained", _nothing),
}
"""By SendGrid's `event` and `type`: Mailgun's word, and what it adds."""


class SentMailgunMail(SentMail):
    """One recipient's message."""

    @cached_property
    def rendered(self) -> Rendered:
        return mailgun_rules.render(self.skeleton, self.personalization, self.stored.address)

    def webhooks(self, step: Step) -> list[tuple[str, Event]]:
        """(token, event data) of each webhook about a step."""
        posts = []
        for number, detail in enumerate(self.details(step)):
            word, add = _EVENTS[(detail["event"], detail.get("type", ""))]
            event_id = self.event_id(step, number)
            data = self.event(word, event_id, self.due_at(step)) | add(detail)
            posts.append((blake2b(event_id.encode(), digest_size=25).hexdigest(), data))
        return posts

    def event(self, word: str, event_id: str, at: float) -> Event:
        """What every event tells of its message."""
        address, rendered = self.stored.address, self.rendered
        return {
            "id": event_id,
            "event": word,
            "timestamp": at,
            "log-level": "info",
            "recipient": address,
            "recipient-domain": address.rpartition("@")[2],
            "tags": list(self.request.categories),
            "user-variables": mailgun_rules.user_variables(self.skeleton, self.personalization, address),
            "message": {
                "headers": {
                    "message-id": self.request.provider_id,
                    "from": rendered.sender,
                    "to": rendered.to,
                    "subject": rendered.subject,
                }
            },
        }


def body(signature: dict[str, str], data: Event) -> bytes:
    """The body of a webhook."""
    return orjson.dumps({"signature": signature, "event-data": data})
