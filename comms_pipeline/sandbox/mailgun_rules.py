"""What Mailgun refuses of a form, and what each recipient gets of an accepted one. Pure: no HTTP, no record.

Limits are those of the API reference; messages follow the API's own.
"""

import re
from collections.abc import Mapping
from email.utils import getaddresses
from typing import Any, NamedTuple

import orjson

from comms_pipeline.sandbox.mail import Mail, Rendered
from comms_pipeline.sandbox.mail_rules import is_address

MAX_RECIPIENTS = 1000
MAX_OPTION_BYTES = 16 * 1024
MAX_TAGS, MAX_TAG_CHARACTERS = 10, 128
NOT_AN_ADDRESS = "{} parameter is not a valid address. please check documentation"
TOO_MANY = f"Too many recipients; max is {MAX_RECIPIENTS}"
NO_BODY = "Need at least one of 'text' or 'html' parameters specified"
TOO_MANY_OPTIONS = "Send options (parameters starting with o:, h:, or v:) are limited to 16 kB total"
_OPTIONS = ("o:", "h:", "v:", "t:")


class Form(NamedTuple):
    """A valid form: what its messages share, and each recipient with the variables of his own."""

    skeleton: Mail
    recipients: dict[str, dict[str, Any]]


def read(fields: list[tuple[str, str]]) -> Form | str:
    """The form, or what Mailgun refuses it for."""
    single = dict(fields)
    addresses = [address for name, value in fields if name == "to" for address in _addresses(value)]
    tags = [value for name, value in fields if name == "o:tag"]
    fault = _fault(single, addresses, tags) or (
        TOO_MANY_OPTIONS if _option_bytes(fields) > MAX_OPTION_BYTES else None
    )
    if fault:
        return fault
    try:
        variables = orjson.loads(single.get("recipient-variables") or "{}")
    except orjson.JSONDecodeError:
        variables = None
    if not isinstance(variables, dict) or not all(isinstance(own, dict) for own in variables.values()):
        return "recipient-variables parameter is not a valid JSON object"
    distinct = {address.lower(): address for address in reversed(addresses)}
    chosen = sorted(distinct.values(), key=addresses.index)
    skeleton = {
        **{name: single.get(name, "") for name in ("from", "subject", "text", "html")},
        "headers": {name[2:]: value for name, value in fields if name.startswith("h:")},
        "user_variables": {name[2:]: value for name, value in fields if name.startswith("v:")},
        "tags": tags,
    }
    if "recipient-variables" not in single:
        # Then it is one message, and everybody sees to whom it went.
        skeleton["everybody"] = ", ".join(chosen)
    return Form(skeleton, {address: variables.get(address) or {} for address in chosen})


def user_variables(skeleton: Mail, variables: Mapping[str, Any], to: str) -> dict[str, str]:
    """The message's own `v:` values, as events tell them."""
    return {name: substitute(value, variables, to) for name, value in skeleton["user_variables"].items()}


def render(skeleton: Mail, variables: Mapping[str, Any], to: str) -> Rendered:
    """A message as its recipient gets it."""
    texts = {name: substitute(skeleton[name], variables, to) for name in ("from", "subject", "text", "html")}
    headers = {name: substitute(value, variables, to) for name, value in skeleton["headers"].items()}
    return Rendered(
        to=skeleton.get("everybody") or to,
        sender=texts["from"],
        reply_to=headers.pop("Reply-To", ""),
        subject=texts["subject"],
        text=texts["text"],
        html=texts["html"],
        headers=headers,
    )


def substitute(text: str, variables: Mapping[str, Any], to: str) -> str:
    """Mailgun's own words, then each variable in turn.

    A value is looked through for the variables after it: nothing says that Mailgun does not.
    """
    own_words = {
        "%recipient%": to,
        "%recipient_email%": to,
        "%unsubscribe_url%": "http://email.mailgun.example/u",
    }
    for word, value in own_words.items():
        text = text.replace(word, value)
    for name, value in variables.items():
        text = text.replace(f"%recipient.{name}%", str(value))
    return text


def _addresses(value: str) -> list[str]:
    return [address for _, address in getaddresses([value])] or [value]


def _fault(single: Mapping[str, str], addresses: list[str], tags: list[str]) -> str | None:
    if not single.get("from"):
        return "from parameter is missing"
    if not all(map(is_address, _addresses(single["from"]))):
        return NOT_AN_ADDRESS.format("from")
    if not addresses:
        return "to parameter is missing"
    if len(addresses) > MAX_RECIPIENTS:
        return TOO_MANY
    if not all(map(is_address, addresses)):
        return NOT_AN_ADDRESS.format("to")
    if not single.get("text") and not single.get("html"):
        return NO_BODY
    if len(tags) > MAX_TAGS or any(
        not 1 <= len(tag) <= MAX_TAG_CHARACTERS or not tag.isascii() for tag in tags
    ):
        return f"A message has at most {MAX_TAGS} tags of {MAX_TAG_CHARACTERS} ASCII characters"
    headers = {name: value for name, value in single.items() if name.startswith("h:")}
    if any(re.search(r"[\r\n\0]", name + value) for name, value in headers.items()):
        return "Header values must not hold line breaks"
    return None


def _option_bytes(fields: list[tuple[str, str]]) -> int:
    return sum(
        len(name.encode()) + len(value.encode()) for name, value in fields if name.startswith(_OPTIONS)
    )
