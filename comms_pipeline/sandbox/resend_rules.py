"""What Resend refuses of an e-mail, and what its recipient gets of an accepted one. Pure: no HTTP, no record.

Limits are those of the published OpenAPI document; messages follow the API's own.
"""

import re
from typing import Any

from comms_pipeline.sandbox.mail import Mail, Rendered
from comms_pipeline.sandbox.mail_rules import is_address

MAX_EMAILS = 100
MAX_RECIPIENTS = 50
MAX_KEY_CHARACTERS = 256
MESSAGE_TAG, ORGANISATION_TAG, SEND_TAG = "comms_message", "comms_org", "comms_send"
CAMPAIGN_TAG = "comms_campaign"
"""The tags by which the record knows our messages."""

INVALID_ADDRESS = (
    "Invalid `{field}` field. The email address needs to follow the `email@example.com` or "
    "`Name <email@example.com>` format."
)
INVALID_TAG = "Tags should only contain ASCII letters, numbers, underscores, or dashes."
_NAMED = re.compile(r'[^",:;<>@()\[\]\\\r\n]*<(?P<address>[^<>]+)>')
_TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")


def check(email: Any) -> str | None:
    """The first fault Resend would refuse this e-mail for."""
    if not isinstance(email, dict):
        return "The e-mail must be an object."
    for field in ("from", "to", "subject"):
        if not email.get(field):
            return f"Missing `{field}` field."
    to = recipients(email)
    if len(to) > MAX_RECIPIENTS:
        return f"The `to` field takes {MAX_RECIPIENTS} addresses."
    reply_to = email.get("reply_to") or []
    replies = reply_to if isinstance(reply_to, list) else [reply_to]
    for field, addresses in (("from", [email["from"]]), ("to", to), ("reply_to", replies)):
        if not all(_is_mailbox(address) for address in addresses):
            return INVALID_ADDRESS.format(field=field)
    if not email.get("html") and not email.get("text"):
        return "Missing `html` or `text` field."
    if not all(isinstance(email.get(field, ""), str) for field in ("subject", "html", "text")):
        return "The `subject`, `html` and `text` fields must be strings."
    return _check_headers(email.get("headers") or {}) or _check_tags(email.get("tags") or [])


def recipients(email: Mail) -> list[Any]:
    """The `to` field, one address or several."""
    return email["to"] if isinstance(email["to"], list) else [email["to"]]


def tags(email: Mail) -> dict[str, str]:
    """The tags of a valid e-mail by name."""
    return {tag["name"]: tag["value"] for tag in email.get("tags") or ()}


def render(email: Mail, to: str) -> Rendered:
    """A valid e-mail as its recipient gets it."""
    reply_to = email.get("reply_to") or ""
    return Rendered(
        to=to,
        sender=email["from"],
        reply_to=", ".join(reply_to) if isinstance(reply_to, list) else reply_to,
        subject=email["subject"],
        text=email.get("text") or "",
        html=email.get("html") or "",
        headers=email.get("headers") or {},
    )


def _is_mailbox(value: object) -> bool:
    named = _NAMED.fullmatch(value) if isinstance(value, str) else None
    return is_address(named["address"] if named else value)


def _check_headers(headers: Any) -> str | None:
    if not isinstance(headers, dict):
        return "The `headers` field must be an object."
    texts = [text for pair in headers.items() for text in pair]
    if not all(isinstance(text, str) and not re.search(r"[\r\n\0]", text) for text in texts):
        return "Each header must be a string without line breaks."
    return None


def _check_tags(listed: Any) -> str | None:
    if not isinstance(listed, list):
        return "The `tags` field must be an array."
    for tag in listed:
        if not isinstance(tag, dict) or not all(
            isinstance(tag.get(part), str) and _TAG.fullmatch(tag[part]) for part in ("name", "value")
        ):
            return INVALID_TAG
    return None
