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
from comms_pipeline.sandbox.recipients import Happening, Step, sms_steps
from comms_pipeline.sandbox.record import StoredMessage, StoredRequest

SERVICE_NUMBER = "+15005550006"
"""Who sends for a Messaging Service."""
PRICE_PER_SEGMENT = 0.0079
UNDELIVERED_REASONS = {
    30003: "Unreachable destination handset",
    30005: "Unknown destination handset",
    30006: "Landline or unreachable carrier",
}
STATUSES = {
    Happening.QUEUED: "queued",
    Happening.SENT: "sent",
    Happening.DELIVERED: "delivered",
    Happening.UNDELIVERED: "undelivered",
}
RANKS = {"scheduled": 0, "accepted": 1, "queued": 2, "sent": 3, "delivered": 4, "undelivered": 4}
"""A status never goes back, in whatever order the network reports."""


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
        """The form fields of the request that made it; `MediaCount` is ours."""
        loaded: dict[str, str] = orjson.loads(self.stored.payload)
        return loaded

    @cached_property
    def steps(self) -> list[Step]:
        has_service = "MessagingServiceSid" in self.form
        return sms_steps(self.seed, self.stored.address, self.stored.message_id, has_service=has_service)

    @property
    def sid(self) -> str:
        return self.request.provider_id

    @property
    def sender(self) -> str:
        return self.form.get("From") or SERVICE_NUMBER

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
        count = max(1, segments(self.form.get("Body", "")))
        uri = f"/2010-04-01/Accounts/{self.account_sid}/Messages/{self.sid}"
        created = _rfc2822(self.request.accepted_at)
        return {
            "account_sid": self.account_sid,
            "api_version": "2010-04-01",
            "body": self.form.get("Body", ""),
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

    def reply(self) -> dict[str, str]:
        """The form fields of the inbound webhook for the recipient's STOP."""
        sid = "SM" + blake2b(f"{self.sid} STOP".encode(), digest_size=16).hexdigest()
        form = {
            "AccountSid": self.account_sid,
            "ApiVersion": "2010-04-01",
            "Body": "STOP",
            "From": self.stored.address,
            "MessageSid": sid,
            "NumMedia": "0",
            "NumSegments": "1",
            "OptOutType": "STOP",
            "SmsMessageSid": sid,
            "SmsSid": sid,
            "SmsStatus": "received",
            "To": self.sender,
        }
        if "MessagingServiceSid" in self.form:
            form["MessagingServiceSid"] = self.form["MessagingServiceSid"]
        return form

    def delivery_token(self, step: Step) -> str:
        """What stays the same when a webhook about this step is posted again."""
        return blake2b(f"{self.sid} {step.what}".encode(), digest_size=16).hexdigest()


def _rfc2822(epoch_seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(int(epoch_seconds), UTC))
