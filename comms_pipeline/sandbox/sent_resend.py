"""An e-mail accepted by Resend's stand-in, and the webhooks that tell of it. Pure. Shapes are Resend's."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import orjson

from comms_pipeline.sandbox import resend_rules
from comms_pipeline.sandbox.mail import Rendered
from comms_pipeline.sandbox.recipients import Step
from comms_pipeline.sandbox.sent_mail import Event, SentMail

Told = dict[str, Any]
PATH = "/webhooks/resend"


def _bounce(kind: str, sub_type: str) -> Callable[[Event], Told]:
    def told(detail: Event) -> Told:
        said = {"message": detail["reason"], "diagnosticCode": [f"smtp; {detail['reason']}"]}
        return {"bounce": {"type": kind, "subType": sub_type, **said}}

    return told


def _suppressed(detail: Event) -> Told:
    return {"suppressed": {"message": detail["reason"], "type": "OnAccountSuppressionList"}}


def _click(detail: Event) -> Told:
    return {
        "click": {"ipAddress": detail["ip"], "link": detail["url"], "userAgent": detail["useragent"]},
    }


def _nothing(_detail: Event) -> Told:
    return {}


_EVENTS: dict[tuple[str, str], tuple[str, Callable[[Event], Told]]] = {
    ("processed", ""): ("email.sent", _nothing),
    ("dropped", ""): ("email.suppressed", _suppressed),
    ("deferred", ""): ("email.delivery_delayed", _nothing),
    ("delivered", ""): ("email.delivered", _nothing),
    ("bounce", "bounce"): ("email.bounced", _bounce("Permanent", "General")),
    ("bounce", "blocked"): ("email.bounced", _bounce("Transient", "General")),
    ("open", ""): ("email.opened", _nothing),
    ("click", ""): ("email.clicked", _click),
    ("spamreport", ""): ("email.complained", _nothing),
}
"""By SendGrid's `event` and `type`: Resend's word, and what it adds. It tells of no unsubscription."""


class SentResendMail(SentMail):
    """One recipient's e-mail."""

    @cached_property
    def rendered(self) -> Rendered:
        return resend_rules.render(self.personalization, self.stored.address)

    def webhooks(self, step: Step) -> list[tuple[str, bytes]]:
        """(id, body) of each webhook about a step."""
        posts = []
        for number, detail in enumerate(self.details(step)):
            known = _EVENTS.get((detail["event"], detail.get("type", "")))
            if known is not None:
                word, add = known
                posts.append((f"msg_{self.event_id(step, number)}", self._body(step, word, add(detail))))
        return posts

    def _body(self, step: Step, word: str, added: Told) -> bytes:
        email = self.personalization
        return orjson.dumps(
            {
                "type": word,
                "created_at": _iso(self.due_at(step)),
                "data": {
                    "created_at": _iso(self.request.accepted_at),
                    "email_id": self.request.provider_id,
                    "from": email["from"],
                    "to": [self.stored.address],
                    "subject": email["subject"],
                    "tags": resend_rules.tags(email),
                    **added,
                },
            }
        )


def _iso(epoch_seconds: float) -> str:
    at = datetime.fromtimestamp(epoch_seconds, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
