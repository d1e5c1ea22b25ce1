"""Webhooks are signed so that the providers' own verifiers accept them."""

import pytest
from sendgrid.helpers.eventwebhook import EventWebhook
from twilio.request_validator import RequestValidator

from comms_pipeline.sandbox.config import generate_webhook_key
from comms_pipeline.sandbox.webhooks import EventSigner, twilio_request, twilio_signature

BODY = b'[{"event":"delivered","name":"\xc3\x85sa"}]\r\n'


def test_sendgrids_verifier_accepts_our_signature() -> None:
    private, public = generate_webhook_key()
    headers = EventSigner(private).headers(BODY, 1_800_000_000)
    assert headers["X-Twilio-Email-Event-Webhook-Timestamp"] == "1800000000"
    signature = headers["X-Twilio-Email-Event-Webhook-Signature"]
    assert EventWebhook(public).verify_signature(BODY.decode(), signature, "1800000000")


@pytest.mark.parametrize(("body", "timestamp"), [(BODY.strip(), "1800000000"), (BODY, "1800000001")])
def test_sendgrids_verifier_refuses_what_was_changed(body: bytes, timestamp: str) -> None:
    private, public = generate_webhook_key()
    signature = EventSigner(private).headers(BODY, 1_800_000_000)["X-Twilio-Email-Event-Webhook-Signature"]
    assert not EventWebhook(public).verify_signature(body.decode(), signature, timestamp)


def test_a_key_that_is_not_elliptic_is_refused() -> None:
    from cryptography.hazmat.primitives.asymmetric import ed25519
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with pytest.raises(TypeError, match="elliptic"):
        EventSigner(pem)


def test_twilios_documented_example_gives_its_documented_signature() -> None:
    form = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert twilio_signature("12345", url, form) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


def test_twilios_validator_accepts_our_request() -> None:
    url = "http://127.0.0.1:8700/webhooks/twilio/status?message=a1&org=acme"
    form = {"MessageSid": "SM1", "Body": "Ja & nein ✓", "To": "+15550100123"}
    body, headers = twilio_request("secret", url, form, "token")
    assert body == b"MessageSid=SM1&Body=Ja+%26+nein+%E2%9C%93&To=%2B15550100123"
    assert RequestValidator("secret").validate(url, form, headers["X-Twilio-Signature"])
    assert not RequestValidator("other").validate(url, form, headers["X-Twilio-Signature"])
