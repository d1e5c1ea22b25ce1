"""What a sandbox is told when it starts, and the key that signs its webhooks. Reads no environment."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey


@dataclass(frozen=True, kw_only=True)
class SandboxConfig:
    """One sandbox. Secrets never show in `repr`.

    Events go to `{web_url}/webhooks/sendgrid`, `…/resend` and `…/mailgun`, replies to text messages to
    `{web_url}/webhooks/twilio/inbound`, Twilio's status callbacks to the StatusCallback of each message.
    """

    folder: Path
    """Where the record lives; one sandbox at a time may use it."""
    seed: int
    """Decides, with each address, how recipients behave."""
    sendgrid_api_key: str = field(repr=False)
    twilio_account_sid: str
    twilio_auth_token: str = field(repr=False)
    webhook_private_key: "EllipticCurvePrivateKey | str" = field(repr=False)
    """The P-256 key that signs SendGrid events, as a key or as PEM text."""
    web_url: str
    """The web app's address, without a trailing slash."""
    event_delay_seconds: float = 2.0
    """The scale of time: the median from acceptance to delivery. Later steps stretch from it."""
    resend_api_key: str = field(default="", repr=False)
    """Resend's API is served when there is a key."""
    mailgun_api_key: str = field(default="", repr=False)
    """Mailgun's API is served when there is a key and a domain."""
    mailgun_domain: str = ""
    resend_webhook_secret: str = field(default="", repr=False)
    """Signs Resend's events, `whsec_…`; without it Resend tells of none."""
    mailgun_webhook_key: str = field(default="", repr=False)
    """Signs Mailgun's events; without it Mailgun tells of none."""


def generate_webhook_key() -> tuple[str, str]:
    """A new P-256 key pair: (private key as PKCS #8 PEM, public key as SendGrid shows it: base64 SPKI)."""
    from base64 import b64encode

    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), b64encode(public).decode()
