"""What SendGrid's v3 mail/send refuses, and with which words. Pure: no HTTP, no record, no clock.

Limits and reserved words are those of the public API reference; messages follow its list of errors.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from comms_pipeline.sandbox.mail import Mail

MAX_PERSONALIZATIONS = 1000
MAX_RECIPIENTS = 1000
MAX_BLOCK_BYTES = 10_000
"""Of the substitutions, and of the custom arguments, of one personalization."""
MAX_CATEGORIES = 10
MAX_CATEGORY_LENGTH = 255
MAX_SCHEDULE_SECONDS = 72 * 3600
RESERVED_HEADERS = frozenset(
    {"x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding", "to"}
    | {"from", "subject", "reply-to", "cc", "bcc"}
)
HELP = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html#message."

NO_SENDER = (
    "The from object must be provided for every email send. It is an object that requires the email "
    'parameter, but may also contain a name parameter.  e.g. {"email" : "example@example.com"}'
)
NO_PERSONALIZATION = "The personalizations field is required and must have at least one personalization."
TOO_MANY_PERSONALIZATIONS = (
    "The personalization block is limited to 1000 personalizations per API request. You have provided "
    "{count} personalizations. Please consider splitting this into multiple requests and resending your "
    "request."
)
NO_RECIPIENT = (
    "The to array is required for all personalization objects, and must have at least one email object "
    "with a valid email address."
)
DUPLICATE_RECIPIENT = (
    "Each email address in the personalization block should be unique between to, cc, and bcc. "
    "We found the first duplicate instance of [{email}] in the {field} field."
)
NO_SUBJECT = (
    "The subject is required. You can get around this requirement if you use a template with a subject "
    "defined or if every personalization has a subject defined."
)
NO_CONTENT = (
    "Unless a valid template_id is provided, the content parameter is required. There must be at least one "
    "defined content block. We typically suggest both text/plain and text/html blocks are included, but only "
    "one block is required."
)
CONTENT_ORDER = "If present, text/plain must be first, followed by text/html, followed by any other content."

_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]*[A-Za-z0-9]"
)


class MailError(NamedTuple):
    """One entry of SendGrid's error body."""

    message: str
    field: str | None
    help: str | None


def is_address(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 254 and _ADDRESS.fullmatch(value) is not None


def check(mail: object, now: float) -> list[MailError]:
    """Every fault SendGrid would refuse this mail for, none if it is accepted. `now` in epoch seconds."""
    if not isinstance(mail, dict):
        return [MailError("Bad Request", None, None)]
    return [
        *_check_sender(mail),
        *_check_personalizations(mail, now),
        *_check_subject(mail),
        *_check_content(mail),
        *_check_categories(mail),
        *_check_headers(mail.get("headers"), "headers"),
        *_check_block(mail.get("custom_args"), "custom_args", "custom_args"),
        *_check_schedule(mail.get("send_at"), "send_at", now),
        *_check_pool(mail),
    ]


def _check_sender(mail: Mail) -> Iterator[MailError]:
    sender = mail.get("from")
    if not isinstance(sender, dict) or not sender.get("email"):
        yield MailError(NO_SENDER, "from.email", HELP + "from")
    elif not is_address(sender["email"]):
        yield MailError("The from email does not contain a valid address.", "from.email", HELP + "from")
    reply_to, several = mail.get("reply_to"), mail.get("reply_to_list")
    if reply_to is not None and several is not None:
        yield MailError("reply_to and reply_to_list cannot be used together.", "reply_to", HELP + "reply_to")
    for field, person in [("reply_to.email", reply_to)] if reply_to is not None else _listed(several):
        if not isinstance(person, dict) or not is_address(person.get("email")):
            yield MailError("The reply_to email does not contain a valid address.", field, HELP + "reply_to")


def _listed(several: Any) -> list[tuple[str, Any]]:
    """The entries of reply_to_list with their fields; what is no list is one wrong entry."""
    people = several if isinstance(several, list) else [] if several is None else [None]
    return [(f"reply_to_list.{index}.email", person) for index, person in enumerate(people)]


def _check_personalizations(mail: Mail, now: float) -> Iterator[MailError]:
    personalizations = mail.get("personalizations")
    help_link = HELP + "personalizations"
    if not isinstance(personalizations, list) or not personalizations:
        yield MailError(NO_PERSONALIZATION, "personalizations", help_link)
        return
    if len(personalizations) > MAX_PERSONALIZATIONS:
        message = TOO_MANY_PERSONALIZATIONS.format(count=len(personalizations))
        yield MailError(message, "personalizations", help_link)
        return
    shared_args = mail.get("custom_args")
    is_dynamic = str(mail.get("template_id") or "").startswith("d-")
    total = 0
    for index, personalization in enumerate(personalizations):
        field = f"personalizations.{index}"
        if not isinstance(personalization, dict):
            yield MailError("Each personalization must be an object.", field, help_link)
            continue
        errors, count = _check_recipients(personalization, field)
        total += count
        yield from errors
        yield from _check_extras(personalization, field, shared_args, now)
        if is_dynamic and personalization.get("substitutions"):
            message = "Substitutions may not be used with dynamic templating"
            yield MailError(message, f"{field}.substitutions", HELP + "personalizations.substitutions")
    if total > MAX_RECIPIENTS:
        message = f"There is a limit of {MAX_RECIPIENTS} total recipients (to + cc + bcc) per request."
        yield MailError(message, "personalizations", help_link)


def _check_recipients(personalization: Mail, field: str) -> tuple[list[MailError], int]:
    """The faults of one personalization's addresses, and how many addresses it has."""
    to = personalization.get("to")
    if not isinstance(to, list) or not to:
        return [MailError(NO_RECIPIENT, f"{field}.to", HELP + "personalizations.to")], 0
    errors: list[MailError] = []
    seen: set[str] = set()
    for kind in ("to", "cc", "bcc"):
        people = personalization.get(kind) or ()
        for index, person in enumerate(people if isinstance(people, list) else [None] * bool(people)):
            email = person.get("email") if isinstance(person, dict) else None
            if not is_address(email):
                where = f"{field}.{kind}.{index}.email"
                errors.append(
                    MailError("Does not contain a valid address.", where, f"{HELP}personalizations.{kind}")
                )
                continue
            lowered = str(email).lower()
            if lowered in seen:
                message = DUPLICATE_RECIPIENT.format(email=email, field=f"{field}.{kind}")
                errors.append(MailError(message, field, HELP + "recipient-errors"))
            seen.add(lowered)
    return errors, len(seen)


def _check_extras(personalization: Mail, field: str, shared_args: Any, now: float) -> Iterator[MailError]:
    if "from" in personalization:
        sender = personalization["from"]
        if not isinstance(sender, dict) or not is_address(sender.get("email")):
            message = "The from email does not contain a valid address."
            yield MailError(message, f"{field}.from.email", HELP + "personalizations.from")
    substitutions = personalization.get("substitutions")
    yield from _check_block(substitutions, f"{field}.substitutions", "substitutions")
    args = personalization.get("custom_args")
    merged = {**shared_args, **args} if isinstance(args, dict) and isinstance(shared_args, dict) else args
    yield from _check_block(merged, f"{field}.custom_args", "custom_args")
    yield from _check_headers(personalization.get("headers"), f"{field}.headers")
    yield from _check_schedule(personalization.get("send_at"), f"{field}.send_at", now)
    if not isinstance(personalization.get("subject", "-"), str) or personalization.get("subject") == "":
        message = "The subject must be a string at least one character in length."
        yield MailError(message, f"{field}.subject", HELP + "personalizations.subject")


def _check_block(block: Any, field: str, name: str) -> Iterator[MailError]:
    """Substitutions and custom arguments: an object of strings of at most 10,000 bytes."""
    if not block:
        return
    help_link = f"{HELP}personalizations.{name}"
    if not isinstance(block, dict):
        yield MailError(f"The {name} must be an object.", field, help_link)
        return
    if "" in block:
        yield MailError(f"The {name} cannot have an empty key.", field, help_link)
    elif not all(type(value) is str for value in block.values()):
        yield MailError(
            f"The {name} must be an object of strings: each value must be a string.", field, help_link
        )
    # JSON is never shorter than what it says, so the exact count is needed only near the limit.
    elif len(orjson.dumps(block)) > MAX_BLOCK_BYTES:
        size = sum(len(key.encode()) + len(value.encode()) for key, value in block.items())
        if size > MAX_BLOCK_BYTES:
            message = f"The {name} of a personalization are limited to {MAX_BLOCK_BYTES} bytes, not {size}."
            yield MailError(message, field, help_link)


def _check_headers(headers: Any, field: str) -> Iterator[MailError]:
    if not headers:
        return
    if not isinstance(headers, dict):
        yield MailError("The headers must be an object.", field, HELP + "headers")
        return
    for name, value in headers.items():
        if name.lower() in RESERVED_HEADERS:
            message = f"The header {name} is reserved and cannot be set: reserved headers are " + ", ".join(
                sorted(RESERVED_HEADERS)
            )
            yield MailError(message, f"{field}.{name}", HELP + "headers")
        elif not isinstance(value, str) or re.search(r"[\r\n\0]", name + value):
            message = "Each header must be a string without line breaks."
            yield MailError(message, f"{field}.{name}", HELP + "headers")


def _check_subject(mail: Mail) -> Iterator[MailError]:
    subject = mail.get("subject")
    if mail.get("template_id") or (subject and isinstance(subject, str)):
        return
    personalizations = mail.get("personalizations")
    each = personalizations if isinstance(personalizations, list) else []
    if not each or not all(isinstance(one, dict) and one.get("subject") for one in each):
        yield MailError(NO_SUBJECT, "subject", HELP + "subject")


def _check_content(mail: Mail) -> Iterator[MailError]:
    if mail.get("template_id"):
        # The sandbox holds no templates, so that an id here can only be a mistake.
        yield MailError("The template_id does not exist.", "template_id", HELP + "template_id")
        return
    content = mail.get("content")
    if not isinstance(content, list) or not content:
        yield MailError(NO_CONTENT, "content", HELP + "content")
        return
    kinds = []
    for index, part in enumerate(content):
        value = part.get("value") if isinstance(part, dict) else None
        kind = part.get("type") if isinstance(part, dict) else None
        kinds.append(kind)
        if not isinstance(kind, str) or "/" not in kind or re.search(r"[;\r\n]", kind):
            message = "The content type must be a MIME type without ; or line breaks."
            yield MailError(message, f"content.{index}.type", HELP + "content.type")
        if not isinstance(value, str) or not value:
            message = "The content value must be a string at least one character in length."
            yield MailError(message, f"content.{index}.value", HELP + "content.value")
    wanted = [kind for kind in ("text/plain", "text/html") if kind in kinds]
    if kinds[: len(wanted)] != wanted:
        yield MailError(CONTENT_ORDER, "content", HELP + "content")


def _check_categories(mail: Mail) -> Iterator[MailError]:
    categories = mail.get("categories")
    if categories is None:
        return
    if not isinstance(categories, list) or not all(isinstance(category, str) for category in categories):
        yield MailError("The categories must be an array of strings.", "categories", HELP + "categories")
        return
    if len(categories) > MAX_CATEGORIES:
        message = f"You cannot have more than {MAX_CATEGORIES} categories per request."
        yield MailError(message, "categories", HELP + "categories")
    if len(set(categories)) != len(categories):
        yield MailError("The categories must be unique.", "categories", HELP + "categories")
    if any(len(category) > MAX_CATEGORY_LENGTH for category in categories):
        message = f"Each category is limited to {MAX_CATEGORY_LENGTH} characters."
        yield MailError(message, "categories", HELP + "categories")


def _check_schedule(send_at: Any, field: str, now: float) -> Iterator[MailError]:
    if send_at is None:
        return
    if type(send_at) is not int:
        yield MailError("The send_at must be an integer, a Unix timestamp.", field, HELP + "send_at")
    elif send_at > now + MAX_SCHEDULE_SECONDS:
        message = "Scheduling more than 72 hours in advance is forbidden."
        yield MailError(message, field, HELP + "send_at")


def _check_pool(mail: Mail) -> Iterator[MailError]:
    pool = mail.get("ip_pool_name")
    if pool is not None and (not isinstance(pool, str) or not 2 <= len(pool) <= 64):
        message = "The ip_pool_name must be a string of 2 to 64 characters."
        yield MailError(message, "ip_pool_name", HELP + "ip_pool_name")
