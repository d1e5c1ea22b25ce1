"""An accepted text message and all that is told of it: its resource, its callbacks, the reply. Pure.

Shapes are those of Twilio's Messages resource (2010-04-01) and its webhooks.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import cached_property
from hashlib import blake2b
from typing import Any

import orjson

from comms_pipeline.domain.sms import segments
from comms_pipeline.sandbox.recipients import (
    OUTSIDE_WINDOW,
    WITHOUT_WHATSAPP,
    Happening,
    Step,
    sms_steps,
    whatsapp_steps,
)
from comms_pipeline.sandbox.record import StoredMessage, StoredRequest
from comms_pipeline.sandbox.text_rules import WHATSAPP_PREFIX, is_whatsapp

SERVICE_NUMBER = "+15005550006"
"""Who sends for a Messaging Service."""
PRICE_PER_SEGMENT = 0.0079
UNDELIVERED_REASONS = {
    30003: "Unreachable destination handset",
    30005: "Unknown destination handset",
    30006: "Landline or unreachable carrier",
    WITHOUT_WHATSAPP: "Invalid message recipient",
    OUTSIDE_WINDOW: "Failed to send freeform message because you are outside the allowed window",
}
STATUSES = {
    Happening.QUEUED: "queued",
    Happening.SENT: "sent",
    Happening.DELIVERED: "delivered",
    Happening.UNDELIVERED: "undelivered",
    Happening.OPENED: "read",
}
RANKS = {"scheduled": 0, "accepted": 1, "queued": 2, "sent": 3, "delivered": 4, "undelivered": 4, "read": 5}
"""A status never goes back, in whatever order the network reports."""
REPLIES = {Happening.STOPPED: "STOP", Happening.REPLIED: "Thank you!"}
"""What recipients write back."""


@dataclass(frozen=True, kw_only=True)
class SentText:
    """One text message. Times are epoch seconds, `delay` is the event delay in seconds."""

    stored: StoredMessage
    request: StoredRequest
    account_sid: str
    seed: int
    delay: float

    @cached_property
    def form(self) -> dict[str, str]:
        """The form fields of the request that made it; `MediaCount` and `IsOutsideWindow` are ours."""
        loaded: dict[str, str] = orjson.loads(self.stored.payload)
        return loaded

    @cached_property
    def steps(self) -> list[Step]:
        whose = self.seed, self.stored.address, self.stored.message_id
        has_service = "MessagingServiceSid" in self.form
        if not self.is_whatsapp:
            return sms_steps(*whose, has_service=has_service)
        is_outside = "IsOutsideWindow" in self.form
        return whatsapp_steps(*whose, has_service=has_service, is_outside_window=is_outside)

    @property
    def is_whatsapp(self) -> bool:
        return is_whatsapp(self.form)

    @property
    def text(self) -> str:
        """What it says. Of a Content template the sandbox knows no words: its SID and what fills it."""
        if "ContentSid" not in self.form:
            return self.form.get("Body", "")
        values = orjson.loads(self.form.get("ContentVariables", "{}")).values()
        return " ".join([f"[{self.form['ContentSid']}]", *values])

    @property
    def sid(self) -> str:
        return self.request.provider_id

    @property
    def sender(self) -> str:
        number = f"{WHATSAPP_PREFIX}{SERVICE_NUMBER}" if self.is_whatsapp else SERVICE_NUMBER
        return self.form.get("From") or number

    def due_at(self, step: Step) -> float:
        return self.stored.starts_at + step.after * self.delay

    def status(self, now: float) -> tuple[str, int | None]:
        """(status, error code) as of `now`."""
        status, code = "queued", None
        if "MessagingServiceSid" in self.form:
            status = "scheduled" if self.stored.starts_at > self.request.accepted_at else "accepted"
        for step in self.steps:
            told = STATUSES.get(step.what)
            if told and self.due_at(step) <= now and RANKS[told] >= RANKS[status]:
                status, code = told, step.code or None
        return status, code

    def resource(self, now: float) -> dict[str, Any]:
        """The Message resource as of `now`, as create, fetch and list show it."""
        status, code = self.status(now)
        is_assigned = RANKS[status] >= RANKS["queued"]
        is_sent = RANKS[status] >= RANKS["sent"]
        count = 1 if self.is_whatsapp else max(1, segments(self.text))
        uri = f"/2010-04-01/Accounts/{self.account_sid}/Messages/{self.sid}"
        created = _rfc2822(self.request.accepted_at)
        return {
            "account_sid": self.account_sid,
            "api_version": "2010-04-01",
            "body": self.text,
            "date_created": created,
            "date_sent": created if is_sent else None,
            "date_updated": created,
            "direction": "outbound-api",
            "error_code": code,
            "error_message": UNDELIVERED_REASONS[code] if code else None,
            "from": self.sender if is_assigned or "From" in self.form else None,
            "messaging_service_sid": self.form.get("MessagingServiceSid"),
            "num_media": self.form.get("MediaCount", "0"),
            "num_segments": str(count) if is_assigned else "0",
            "price": f"-{PRICE_PER_SEGMENT * count:.5f}" if is_sent else None,
            "price_unit": "USD",
            "sid": self.sid,
            "status": status,
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": self.stored.address,
            "uri": f"{uri}.json",
        }

    def callback(self, step: Step) -> dict[str, str]:
        """The form fields of the status callback that tells of a step."""
        status = STATUSES[step.what]
        form = {
            "AccountSid": self.account_sid,
            "ApiVersion": "2010-04-01",
            "From": self.sender,
            "MessageSid": self.sid,
            "MessageStatus": status,
            "SmsSid": self.sid,
            "SmsStatus": status,
            "To": self.stored.address,
        }
        if "MessagingServiceSid" in self.form:
            form["MessagingServiceSid"] = self.form["MessagingServiceSid"]
        if step.code:
            form["ErrorCode"] = str(step.code)
        if status in {"delivered", "undelivered"}:
            form["RawDlrDoneDate"] = datetime.fromtimestamp(self.due_at(step), UTC).strftime("%y%m%d%H%M")
        return form

    def reply(self, step: Step) -> dict[str, str]:
        """The form fields of the inbound webhook for what the recipient writes back."""
        body = REPLIES[step.what]
        sid = "SM" + blake2b(f"{self.sid} {body}".encode(), digest_size=16).hexdigest()
        form = {
            "AccountSid": self.account_sid,
            "ApiVersion": "2010-04-01",
            "Body": body,
            "From": self.stored.address,
            "MessageSid": sid,
            "NumMedia": "0",
            "NumSegments": "1",
            "SmsMessageSid": sid,
            "SmsSid": sid,
            "SmsStatus": "received",
            "To": self.sender,
        }
        if step.what is Happening.STOPPED:
            form["OptOutType"] = "STOP"
        if "MessagingServiceSid" in self.form:
            form["MessagingServiceSid"] = self.form["MessagingServiceSid"]
        return form

    def delivery_token(self, step: Step) -> str:
        """What stays the same when a webhook about this step is posted again."""
        return blake2b(f"{self.sid} {step.what}".encode(), digest_size=16).hexdigest()


def _rfc2822(epoch_seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(int(epoch_seconds), UTC))
