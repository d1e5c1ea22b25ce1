"""Finds one contact by what somebody knows of it: an id, the organisation's own id, an e-mail address, a number.

Whoever asks by address learns whether it is known: that is noted in the audit trail, found or not. Changes nothing.
"""

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import duckdb
import psycopg

from comms_pipeline.domain.addresses import address_key, email_key, normalise_email, normalise_phone
from comms_pipeline.domain.errors import CommsError, NotFound
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import audit
from comms_pipeline.sqlfiles import named_queries

_QUERIES = "lake/queries/people.sql"
_CONTACT_ID = re.compile(r"[0-9a-f]{32}")
_SHOWN = 5
_NO_REGION = "ZZ"
"""Numbers are read in their international form only: guessing a country would guess a person."""

_Row = dict[str, Any]


class Ambiguous(CommsError):
    """Several contacts are known by the same address or external id."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was given: an e-mail address, a telephone number, or neither of them, in normal form."""

    email: str | None = field(default=None, repr=False)
    phone: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, text: str) -> "Asked":
        """What `text` is; anything that is no valid address is an id."""
        if "@" in text:
            return cls(email=normalise_email(text))
        return cls(phone=normalise_phone(text, _NO_REGION) if text.lstrip().startswith("+") else None)

    @property
    def is_address(self) -> bool:
        """Whether it is an address, of a contact or of nobody."""
        return self.email is not None or self.phone is not None


@dataclass(frozen=True, kw_only=True)
class Person:
    """One contact of one organisation. `row`: its row of `core.contacts`, None when there is none any more."""

    contact_id: str
    organisation_id: str
    row: _Row | None = field(repr=False)
    secret: bytes = field(repr=False)

    @property
    def is_erased(self) -> bool:
        """Whether its data was erased on request."""
        return self.row is not None and bool(self.row["is_erased"])

    @property
    def email(self) -> str | None:
        """Its e-mail address; None where there is none, or none any more."""
        return self.row["email"] if self.row is not None else None

    @property
    def phone(self) -> str | None:
        """Its telephone number; None where there is none, or none any more."""
        return self.row["phone"] if self.row is not None else None

    @cached_property
    def keys(self) -> dict[Channel, bytes]:
        """The keyed hash of its address, by the channels on which it has one."""
        return address_keys_of(self.email, self.phone, self.secret)

    @property
    def subjects(self) -> list[bytes]:
        """All that it goes by in the ledger: its id and its address keys."""
        return [bytes.fromhex(self.contact_id), *self.keys.values()]


def address_keys_of(email: str | None, phone: str | None, secret: bytes) -> dict[Channel, bytes]:
    """The key of an address on each channel that may use it."""
    addresses = {Channel.EMAIL: email, Channel.SMS: phone, Channel.WHATSAPP: phone}
    return {channel: address_key(text, channel, secret) for channel, text in addresses.items() if text}


def find_person(
    cursor: duckdb.DuckDBPyConnection,
    ledger: psycopg.Connection[Any],
    known_by: str,
    organisation_id: str | None,
    *,
    secret: bytes,
    actor: str,
    purpose: str,
    is_always_noted: bool = False,
) -> Person | None:
    """The contact of this id, external id, e-mail address or phone number (with "+"); None when nobody has it.

    External ids mean something within an organisation only. `is_always_noted` is for those who show what is kept of
    the person: then every look at somebody is noted, not only one by address. Raises `Ambiguous` when several have it,
    and `NotFound` for the id of a contact of another organisation.
    """
    text = known_by.strip()
    by, found = _candidates(cursor, text, organisation_id)
    asked = Asked.read(text)
    if by in _ADDRESSES or (is_always_noted and found):
        _note(ledger, by, found, asked, organisation_id, secret=secret, actor=actor, purpose=purpose)
    if len(found) > 1:
        raise _ambiguous(found, organisation_id)
    if found:
        (row,) = found
        _require_owner(row["contact_id"], row["organisation_id"], organisation_id)
        return Person(
            contact_id=row["contact_id"], organisation_id=row["organisation_id"], row=row, secret=secret
        )
    return _former(cursor, text, organisation_id, secret) if by == "id" else None


def unknown_person(organisation_id: str | None) -> NotFound:
    """What to raise when nobody is known by what was given, which may be personal data: it is not repeated."""
    if organisation_id is None:
        return NotFound(
            "contact",
            "nobody is known by this",
            "Give a contact id, an e-mail address, a number that begins with +, or --organisation and its own id",
        )
    return NotFound(
        "contact",
        f"{organisation_id} knows nobody by this",
        "Give a contact id, an external id, an e-mail address, or a phone number with + and country code",
    )


_ADDRESSES = ("email", "phone")


def _candidates(
    cursor: duckdb.DuckDBPyConnection, text: str, organisation_id: str | None
) -> tuple[str, list[_Row]]:
    """What `text` was taken for, and whom that gives."""
    if _CONTACT_ID.fullmatch(text):
        return "id", _rows(cursor, "by_id", value=text)
    asked = Asked.read(text)
    if organisation_id is not None:
        found = _rows(cursor, "by_external_id", value=text, organisation=organisation_id)
        if found or not asked.is_address:
            return "external_id", found
    if asked.email is not None:
        rows = _rows(cursor, "by_email", value=asked.email, organisation=organisation_id)
        wanted = email_key(asked.email)
        return "email", [row for row in rows if row["email"] and email_key(row["email"]) == wanted]
    if asked.phone is not None:
        return "phone", _rows(cursor, "by_phone", value=asked.phone, organisation=organisation_id)
    return "nothing", []


def _note(
    ledger: psycopg.Connection[Any],
    by: str,
    found: list[_Row],
    asked: Asked,
    organisation_id: str | None,
    *,
    secret: bytes,
    actor: str,
    purpose: str,
) -> None:
    subjects = [(row["organisation_id"], bytes.fromhex(row["contact_id"])) for row in found]
    if not subjects:
        channel, address = (Channel.EMAIL, asked.email) if asked.email else (Channel.SMS, asked.phone or "")
        subjects = [(organisation_id or "*", address_key(address, channel, secret))]
    for owner, subject in subjects:
        audit.note(
            ledger,
            actor=actor,
            action="pii-access",
            subject=audit.subject_of(owner, subject),
            details={"by": by, "for": purpose, "found": len(found)},
        )


def _former(
    cursor: duckdb.DuckDBPyConnection, contact_id: str, organisation_id: str | None, secret: bytes
) -> Person | None:
    """Of whom only plans are left."""
    owner = cursor.execute(named_queries(_QUERIES)["owner_of"], {"contact_id": contact_id}).fetchone()
    if owner is None:
        return None
    _require_owner(contact_id, owner[0], organisation_id)
    return Person(contact_id=contact_id, organisation_id=owner[0], row=None, secret=secret)


def _require_owner(contact_id: str, owner: str, organisation_id: str | None) -> None:
    if organisation_id not in (None, owner):
        raise NotFound(
            f"contact {contact_id}",
            f"it is one of {owner}, not of {organisation_id}",
            f"Add --organisation {owner}",
        )


def _ambiguous(found: list[_Row], organisation_id: str | None) -> Ambiguous:
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    if organisation_id is None:
        names = ", ".join(f"{row['contact_id']} of {row['organisation_id']}" for row in found[:_SHOWN])
        return Ambiguous(
            "contact", f"{len(found)} contacts have this", f"Name one, or --organisation: {names}{more}"
        )
    ids = ", ".join(row["contact_id"] for row in found[:_SHOWN])
    return Ambiguous(
        "contact", f"{len(found)} contacts of {organisation_id} have this", f"Name one: {ids}{more}"
    )


def _rows(cursor: duckdb.DuckDBPyConnection, query: str, **parameters: object) -> list[_Row]:
    return cursor.execute(named_queries(_QUERIES)[query], parameters).pl().rows(named=True)
