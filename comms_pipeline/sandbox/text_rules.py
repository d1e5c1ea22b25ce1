"""What Twilio's create-message refuses, with its codes and words. Pure: no HTTP, no record, no clock.

Sources: Twilio's error dictionary and the documentation of the Messages resource; the senders that are
refused are those of its test credentials. `recipients` tells which numbers of recipients are.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from urllib.parse import urlsplit

import orjson

MAX_BODY_CHARACTERS = 1600
MAX_WHATSAPP_CHARACTERS = 4096
MAX_VARIABLE_CHARACTERS = 1600
MAX_MEDIA = 10
SCHEDULE_SECONDS = (300, 35 * 24 * 3600)
INVALID_SENDER, FOREIGN_SENDER = "+15005550001", "+15005550007"

_E164 = re.compile(r"\+[1-9]\d{6,14}")
_SHORT_CODE = re.compile(r"\d{3,8}")
_ALPHANUMERIC = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 &+_-]{1,11}")
_SERVICE = re.compile(r"MG[0-9a-fA-F]{32}")
_CONTENT = re.compile(r"HX[0-9a-fA-F]{32}")
_NOT_IN_VARIABLES = re.compile(r"[\n\t]| {5}")
WHATSAPP_PREFIX = "whatsapp:"

MESSAGES = {
    20003: "Authenticate",
    20404: "The requested resource {value} was not found",
    20422: "Invalid Parameter: {value}",
    20429: "Too Many Requests",
    21211: "The 'To' number {value} is not a valid phone number.",
    21212: "The 'From' number {value} is not a valid phone number, shortcode, or alphanumeric sender ID.",
    21602: "Message body is required.",
    21603: "A 'From' phone number is required.",
    21604: "A 'To' phone number is required.",
    21606: "The 'From' phone number provided ({value}) is not a valid message-capable Twilio phone number "
    "for this destination/account",
    21609: "The 'StatusCallback' URL {value} is not a valid URL.",
    21610: "Attempt to send to unsubscribed recipient",
    21614: "'To' number: {value}, is not a valid mobile number",
    21617: "The concatenated message body exceeds the 1600 character limit",
    21623: "Number of media files exceeds allowed limit.",
    21656: "The ContentVariables Parameter is invalid.",
    21658: "Parameter exceeded character limit",
    21701: "The Messaging Service {value} does not exist.",
    35114: "Scheduling does not support this timestamp",
}
STATUSES = {20003: 401, 20404: 404, 20429: 429, 21701: 404}
"""HTTP statuses of the codes that are not answered with 400."""


class Refusal(NamedTuple):
    """Why a request is refused; `value` is what the message names."""

    code: int
    value: str = ""

    @property
    def status(self) -> int:
        return STATUSES.get(self.code, 400)

    @property
    def body(self) -> dict[str, object]:
        """The error answer in Twilio's shape."""
        return {
            "code": self.code,
            "message": MESSAGES[self.code].format(value=self.value),
            "more_info": f"https://www.twilio.com/docs/errors/{self.code}",
            "status": self.status,
        }


def check(form: Mapping[str, str], media: Sequence[str], now: float) -> Refusal | None:
    """The first reason to refuse a message, None when it is accepted. `now` in epoch seconds."""
    return (
        _check_recipient(form)
        or _check_sender(form)
        or _check_content(form, media)
        or _check_callback(form)
        or _check_schedule(form, now)
    )


def is_whatsapp(form: Mapping[str, str]) -> bool:
    """Whether a message goes by WhatsApp."""
    return form["To"].startswith(WHATSAPP_PREFIX)


def starts_at(form: Mapping[str, str], now: float) -> float:
    """When a message that was accepted at `now` goes out. Without a service Twilio ignores a schedule."""
    if "MessagingServiceSid" not in form or form.get("ScheduleType") != "fixed":
        return now
    moment = _moment(form.get("SendAt", ""))
    return now if moment is None else moment.timestamp()


def _check_recipient(form: Mapping[str, str]) -> Refusal | None:
    to = form.get("To", "").strip()
    if not to:
        return Refusal(21604)
    return None if _E164.fullmatch(to.removeprefix(WHATSAPP_PREFIX)) else Refusal(21211, to)


def _check_sender(form: Mapping[str, str]) -> Refusal | None:
    sender, service = form.get("From", ""), form.get("MessagingServiceSid", "")
    if not sender and not service:
        return Refusal(21603)
    if service and not _SERVICE.fullmatch(service):
        return Refusal(21701, service)
    if not sender:
        return None
    if sender == FOREIGN_SENDER:
        return Refusal(21606, sender)
    bare = sender.removeprefix(WHATSAPP_PREFIX)
    is_number = _E164.fullmatch(bare) or _SHORT_CODE.fullmatch(bare) or _ALPHANUMERIC.fullmatch(bare)
    is_same_channel = sender.startswith(WHATSAPP_PREFIX) == form["To"].startswith(WHATSAPP_PREFIX)
    is_valid = is_number and is_same_channel and sender != INVALID_SENDER
    return None if is_valid else Refusal(21212, sender)


def _check_content(form: Mapping[str, str], media: Sequence[str]) -> Refusal | None:
    body, content = form.get("Body", ""), form.get("ContentSid", "")
    if len(body) > (MAX_WHATSAPP_CHARACTERS if is_whatsapp(form) else MAX_BODY_CHARACTERS):
        return Refusal(21617)
    if len(media) > MAX_MEDIA:
        return Refusal(21623)
    if content and not _CONTENT.fullmatch(content):
        return Refusal(20404, f"/v1/Content/{content}")
    if "ContentVariables" in form and (code := _variables_fault(form["ContentVariables"])):
        return Refusal(code)
    return None if body or content or media else Refusal(21602)


def _check_callback(form: Mapping[str, str]) -> Refusal | None:
    callback = form.get("StatusCallback", "")
    parts = urlsplit(callback)
    is_valid = not callback or (parts.scheme in {"http", "https"} and parts.hostname)
    return None if is_valid else Refusal(21609, callback)


def _check_schedule(form: Mapping[str, str], now: float) -> Refusal | None:
    if "MessagingServiceSid" not in form or form.get("ScheduleType") != "fixed":
        return None
    moment = _moment(form.get("SendAt", ""))
    earliest, latest = SCHEDULE_SECONDS
    is_supported = moment is not None and now + earliest < moment.timestamp() <= now + latest
    return None if is_supported else Refusal(35114)


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _variables_fault(text: str) -> int | None:
    """The code by which variables of a Content template are refused."""
    try:
        variables = orjson.loads(text)
    except orjson.JSONDecodeError:
        return 21656
    if not isinstance(variables, dict):
        return 21656
    for value in variables.values():
        if not isinstance(value, str) or not value or _NOT_IN_VARIABLES.search(value):
            return 21656
        if len(value) > MAX_VARIABLE_CHARACTERS:
            return 21658
    return None
