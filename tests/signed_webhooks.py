"""What each provider posts to us, signed as it signs: for tests that ask the same of every receiver. No tests."""

import base64
import hashlib
import hmac
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode

import orjson
from browsing import MESSAGE_ID, PHONE, PUBLIC_URL
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ADDRESS = "Ann@Example.com"
_SENDGRID_KEY = ec.derive_private_key(7, ec.SECP256R1())
SENDGRID_PUBLIC_KEY = base64.b64encode(
    _SENDGRID_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode()
TWILIO_TOKEN = "twilio-token"
RESEND_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MAILGUN_KEY = "mailgun-signing-key"
SETTINGS: dict[str, Any] = {
    "sendgrid_webhook_key": SENDGRID_PUBLIC_KEY,
    "twilio_auth_token": TWILIO_TOKEN,
    "resend_webhook_secret": RESEND_SECRET,
    "mailgun_webhook_key": MAILGUN_KEY,
}
WITHOUT_KEYS: dict[str, Any] = dict.fromkeys(SETTINGS, "")


@dataclass(frozen=True, kw_only=True)
class Signed:
    """A request as a provider makes it. `signs`: the headers without which it is nobody's."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    signs: tuple[str, ...] = ()


class Sender(ABC):
    """One provider. Kinds are our words; what it says for them is `event`'s."""

    provider: str
    words: ClassVar[dict[str, Any]]
    """`delivered`, `bounced`, `blocked`, and `unknown`: what no table of ours knows."""
    signs_time = True

    @abstractmethod
    def event(self, kind: str) -> bytes:
        """The body about Ann's message, not signed."""

    @abstractmethod
    def sign(self, body: bytes, *, at: datetime | None = None, key: str | None = None) -> Signed:
        """The request with this body. `key`: another one than is right."""

    def __repr__(self) -> str:
        return self.provider


class SendGrid(Sender):
    provider = "sendgrid"
    words: ClassVar[dict[str, Any]] = {
        "delivered": {"event": "delivered"},
        "bounced": {"event": "bounce", "type": "bounce", "status": "5.1.1"},
        "blocked": {"event": "bounce", "type": "blocked", "status": "5.7.1"},
        "unknown": {"event": "what_comes_next_year"},
    }

    def event(self, kind: str) -> bytes:
        told = {
            "email": ADDRESS,
            "timestamp": 1772366400,
            "sg_event_id": token_hex(8),
            "comms_message": MESSAGE_ID,
            "comms_org": "wedding",
        }
        return orjson.dumps([told | self.words[kind]]) + b"\r\n"

    def sign(self, body: bytes, *, at: datetime | None = None, key: str | None = None) -> Signed:
        timestamp = str(int((at or datetime.now(UTC)).timestamp()))
        signing = ec.derive_private_key(8, ec.SECP256R1()) if key else _SENDGRID_KEY
        signature = base64.b64encode(signing.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))).decode()
        headers = {
            "X-Twilio-Email-Event-Webhook-Signature": signature,
            "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
        }
        return Signed(path="/webhooks/sendgrid", body=body, headers=headers, signs=tuple(headers))


class TwilioStatus(Sender):
    provider = "twilio"
    words: ClassVar[dict[str, Any]] = {
        "delivered": {"MessageStatus": "delivered"},
        "bounced": {"MessageStatus": "undelivered", "ErrorCode": "30005"},
        "blocked": {"MessageStatus": "undelivered", "ErrorCode": "30007"},
        "unknown": {"MessageStatus": "what_comes_next_year"},
    }
    signs_time = False
    path = f"/webhooks/twilio/status?message={MESSAGE_ID}&org=wedding"

    def event(self, kind: str) -> bytes:
        return urlencode({"MessageSid": f"SM{token_hex(16)}", "To": PHONE} | self.words[kind]).encode()

    def sign(self, body: bytes, *, at: datetime | None = None, key: str | None = None) -> Signed:
        params = dict(pair for pair in _form(body))
        text = PUBLIC_URL + self.path + "".join(name + params[name] for name in sorted(params))
        digest = hmac.digest((key or TWILIO_TOKEN).encode(), text.encode(), "sha1")
        headers = {
            "X-Twilio-Signature": base64.b64encode(digest).decode(),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return Signed(path=self.path, body=body, headers=headers, signs=("X-Twilio-Signature",))


class Resend(Sender):
    provider = "resend"
    words: ClassVar[dict[str, Any]] = {
        "delivered": ("email.delivered", {}),
        "bounced": ("email.bounced", {"bounce": {"type": "Permanent", "subType": "General"}}),
        "blocked": ("email.bounced", {"bounce": {"type": "Transient", "subType": "MailboxFull"}}),
        "unknown": ("email.what_comes_next_year", {}),
    }

    def event(self, kind: str) -> bytes:
        word, more = self.words[kind]
        data = {
            "email_id": "56761188-7520-42d8-8898-ff6fc54ce618",
            "to": [ADDRESS],
            "tags": {"comms_message": MESSAGE_ID, "comms_org": "wedding"},
        }
        return orjson.dumps({"type": word, "created_at": "2026-03-01T12:00:00.000Z", "data": data | more})

    def sign(self, body: bytes, *, at: datetime | None = None, key: str | None = None) -> Signed:
        timestamp, webhook_id = str(int((at or datetime.now(UTC)).timestamp())), f"msg_{token_hex(12)}"
        secret = base64.b64decode((key or RESEND_SECRET).removeprefix("whsec_"))
        digest = hmac.digest(secret, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256)
        headers = {
            "svix-id": webhook_id,
            "svix-timestamp": timestamp,
            "svix-signature": f"v1,{base64.b64encode(digest).decode()}",
        }
        return Signed(path="/webhooks/resend", body=body, headers=headers, signs=tuple(headers))


class Mailgun(Sender):
    provider = "mailgun"
    words: ClassVar[dict[str, Any]] = {
        "delivered": {"event": "delivered"},
        "bounced": {
            "event": "failed",
            "severity": "permanent",
            "reason": "bounce",
            "delivery-status": {"code": 550, "message": "5.1.1 no such user"},
        },
        "blocked": {
            "event": "failed",
            "severity": "permanent",
            "reason": "espblock",
            "delivery-status": {"code": 554, "message": "5.7.1 refused"},
        },
        "unknown": {"event": "what_comes_next_year"},
    }

    def event(self, kind: str) -> bytes:
        told = {
            "id": token_hex(8),
            "timestamp": 1772366400.5,
            "recipient": ADDRESS,
            "user-variables": {"comms_message": MESSAGE_ID, "comms_org": "wedding"},
            "message": {"headers": {"message-id": "20260301120000.1@mg.example.org"}},
        }
        return orjson.dumps({"event-data": told | self.words[kind]})

    def sign(self, body: bytes, *, at: datetime | None = None, key: str | None = None) -> Signed:
        """The signature stands in the body: what is no JSON object cannot be signed, and goes as it is."""
        timestamp, token = str(int((at or datetime.now(UTC)).timestamp())), token_hex(25)
        digest = hmac.digest((key or MAILGUN_KEY).encode(), (timestamp + token).encode(), "sha256").hex()
        try:
            told = orjson.loads(body)
        except orjson.JSONDecodeError:
            told = None
        if isinstance(told, dict):
            body = orjson.dumps(
                told | {"signature": {"timestamp": timestamp, "token": token, "signature": digest}}
            )
        return Signed(path="/webhooks/mailgun", body=body)


def _form(body: bytes) -> list[tuple[str, str]]:
    return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)


SENDERS = (SendGrid(), TwilioStatus(), Resend(), Mailgun())
