"""What customers do elsewhere (buy, pay, sign up) as shops and CRMs tell it, and for which of it messages get credit.

Checks and normalises; stores nothing. Addresses only say whose event it is: they go no further than their keys.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo, model_validator

from comms_pipeline.domain.addresses import INVALID_EMAIL, normalise_email, normalise_phone
from comms_pipeline.domain.event import without_addresses
from comms_pipeline.domain.fields import Slug
from comms_pipeline.domain.prices import MICROS
from comms_pipeline.domain.validation import Fault, Strict, fault, faults, keys_of, nearest

MAX_EVENTS = 1_000
"""In one request, or one landing."""
CUSTOM_PREFIX = "custom."
"""Types nobody foresaw begin so."""

_CUSTOM = re.compile(r"custom\.[a-z0-9][a-z0-9_-]{0,59}")
_KEY = re.compile(r"[!-~]{1,200}")
_MAX_PROPERTIES, _MAX_TEXT = 50, 500
_CLOCKS_APART = timedelta(minutes=5)
_MAX_MICROS = 2**63 - 1

Scalar = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class BusinessEventType:
    """What an event of a type must tell, and whether messages get credit for it."""

    needs: tuple[str, ...]
    """Of `contact`, `value`, and `properties.NAME`."""
    is_conversion: bool


TYPES: Mapping[str, BusinessEventType] = {
    "purchase": BusinessEventType(needs=("contact", "value"), is_conversion=True),
    "payment_received": BusinessEventType(needs=("contact", "value"), is_conversion=True),
    "signup": BusinessEventType(needs=("contact",), is_conversion=True),
    "invoice_created": BusinessEventType(needs=("contact", "value"), is_conversion=False),
    "invite_created": BusinessEventType(needs=("contact",), is_conversion=False),
    "stock_low": BusinessEventType(needs=("properties.item",), is_conversion=False),
}
"""The types we know. Of the custom ones, those with a value are conversions."""

CONVERSIONS = tuple(name for name, kind in TYPES.items() if kind.is_conversion)


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """How long after a touch a message gets credit, in hours; 0: never.

    The last click or open of a person before the event counts. Only where there is none, and `delivered_hours` is
    set, the last delivery does (view-through).
    """

    click_hours: int = 7 * 24
    open_hours: int = 24
    delivered_hours: int = 0


@dataclass(frozen=True, kw_only=True)
class BusinessEvent:
    """One event, checked. Who did it: any of `contact_id` … `phone`; the first that is known counts.

    `occurred_at` is None where the sender gave no time: when it was received stands in.
    """

    idempotency_key: str
    organisation_id: str
    type: str
    contact_id: str | None = None
    external_id: str | None = field(default=None, repr=False)
    email: str | None = field(default=None, repr=False)
    phone: str | None = field(default=None, repr=False)
    occurred_at: datetime | None = None
    value_micros: int | None = None
    currency: str | None = None
    properties: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def event_id(self) -> str:
        """One per organisation and idempotency key: told again, it is the same event."""
        name = f"{self.organisation_id}\x1f{self.idempotency_key}"
        return blake2b(name.encode(), digest_size=16).hexdigest()


def _key(value: str) -> str:
    if not _KEY.fullmatch(value):
        raise fault(
            "the idempotency_key is no plain text", "Use up to 200 visible ASCII characters, no spaces"
        )
    if without_addresses(value) != value:
        raise fault("the idempotency_key holds an address", "Use the event's own id, such as order-4711")
    return value


def _type(value: str) -> str:
    if value not in TYPES and not _CUSTOM.fullmatch(value):
        raise fault(
            f"unknown type '{without_addresses(value[:80])}'",
            f"{nearest(value, TYPES)} Begin types of your own with '{CUSTOM_PREFIX}'",
        )
    return value


def _email(value: str) -> str:
    normal = normalise_email(value)
    if normal is None:
        raise fault(f"it is {INVALID_EMAIL}", "Correct it, or name the contact by contact_id or external_id")
    return normal


def _phone(value: str) -> str:
    normal = normalise_phone(value, "US") if value.strip().startswith("+") else None
    if normal is None:
        raise fault("it is not a valid phone number", "Write it with + and country code")
    return normal


def _instant(value: object, info: ValidationInfo) -> object:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
        at = at.astimezone(UTC) if at is not None and at.tzinfo is not None else None
    except (ValueError, OverflowError):
        at = None
    if at is None:
        raise fault("'occurred_at' is no time with a zone", "Write it like 2026-05-01T12:00:00Z")
    now: datetime = (info.context or {})["now"]
    if at > now + _CLOCKS_APART:
        raise fault("'occurred_at' is in the future", "Tell events when they have happened; check the clock")
    return at


def _micros(value: object) -> object:
    try:
        amount = Decimal(str(value)) if isinstance(value, int | float | str) and value is not True else None
        micros = amount * MICROS if amount is not None and amount.is_finite() else None
    except (InvalidOperation, ValueError):
        micros = None
    if micros is None or not 0 <= micros <= _MAX_MICROS or micros != int(micros):
        raise fault(
            "'value' is no amount of money", "Write a number such as 49.90, not negative, 6 decimals at most"
        )
    return int(micros)


def _property(value: object) -> object:
    if isinstance(value, str):
        if len(value) > _MAX_TEXT:
            raise fault(f"a property is longer than {_MAX_TEXT} characters", "Shorten it, or leave it out")
        # Notes and comments quote addresses; events hold none.
        return without_addresses(value)
    if not isinstance(value, int | float | None):
        raise fault("a property is a list or an object", "Give each value a name of its own")
    return value


class _Item(Strict):
    """An event as it is told."""

    idempotency_key: Annotated[str, AfterValidator(_key)]
    organisation: Slug
    type: Annotated[str, AfterValidator(_type)]
    contact_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    external_id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    email: Annotated[str, AfterValidator(_email)] | None = None
    phone: Annotated[str, AfterValidator(_phone)] | None = None
    occurred_at: Annotated[datetime, BeforeValidator(_instant)] | None = None
    value: Annotated[int, BeforeValidator(_micros)] | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    properties: Annotated[
        dict[
            Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,59}$")],
            Annotated[Scalar, BeforeValidator(_property)],
        ],
        Field(max_length=_MAX_PROPERTIES),
    ] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _complete(self) -> "_Item":
        if (self.value is None) != (self.currency is None):
            raise fault("'value' and 'currency' go together", "Give both, like 49.90 and EUR, or neither")
        kind = TYPES.get(self.type)
        for needed in kind.needs if kind else ():
            if not self._has(needed):
                raise fault(
                    f"a {self.type} needs {_NEEDS.get(needed, needed)}", f"Add {_FIXES.get(needed, needed)}"
                )
        return self

    def _has(self, needed: str) -> bool:
        if needed == "contact":
            return any((self.contact_id, self.external_id, self.email, self.phone))
        if needed == "value":
            return self.value is not None
        return self.properties.get(needed.removeprefix("properties.")) is not None


_NEEDS = {"contact": "somebody who did it", "value": "a value and a currency"}
_FIXES = {
    "contact": "contact_id, external_id, email or phone",
    "value": "value and currency, like 49.90 and EUR",
}
_KEYS = {"": keys_of(_Item)}


def read_event(item: object, now: datetime) -> BusinessEvent | Fault:
    """One event as told (JSON's values, keys as documented), or the first thing wrong with it.

    `now` (UTC) bounds `occurred_at`. What a fault says never quotes an address.
    """
    if not isinstance(item, dict):
        return Fault(path=(), problem="it is no object", fix='Write {"idempotency_key": …, "type": …}')
    told: dict[str, Any] = {name: value for name, value in item.items() if value is not None}
    try:
        read = _Item.model_validate(told, context={"now": now})
    except ValidationError as error:
        first = faults(error, _KEYS)[0]
        return Fault(path=first.path, problem=without_addresses(first.problem), fix=first.fix)
    return BusinessEvent(
        **read.model_dump(exclude={"organisation", "value"}),
        organisation_id=read.organisation,
        value_micros=read.value,
    )


def unknown_organisation(event: BusinessEvent) -> Fault:
    """What to say of an event whose organisation nobody applied."""
    return Fault(
        path=("organisation",),
        problem=f"the organisation '{event.organisation_id}' is not known",
        fix="Use the id of an organisation.yaml that was applied",
    )
