"""Who is meant: a contact by id, by an external id, by an e-mail address or by a telephone number.

Looking is an access to personal data and leaves a row in the audit trail. Changes nothing else.
"""

import re
from dataclasses import dataclass, field

import duckdb

from comms_pipeline.domain.addresses import address_key, email_key, normalise_email, normalise_phone
from comms_pipeline.domain.errors import CommsError, NotFound
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import audit
from comms_pipeline.ledger.erasure import Person
from comms_pipeline.privacy.spellings import Spellings
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

_QUERIES = "lake/queries/privacy.sql"
_CONTACT_ID = re.compile(r"[0-9a-f]{32}")
_NO_REGION = "ZZ"
"""Numbers are read in their international form only: guessing a country here would guess a person."""
_Row = tuple[str, str, str | None, str | None, bool]


class AmbiguousContact(CommsError):
    """Several contacts go by what was given."""


@dataclass(frozen=True, kw_only=True)
class KnownContact:
    """A contact and what identifies it in every store. Addresses are null once it is erased."""

    contact_id: str
    organisation_id: str
    email: str | None = field(repr=False)
    phone: str | None = field(repr=False)
    is_erased: bool


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
        """Whether there is something to suppress and to search for."""
        return self.email is not None or self.phone is not None


def find_contact(
    stores: Stores, text: str, *, organisation: str | None = None, actor: str, purpose: str
) -> KnownContact | None:
    """The one contact that goes by `text`, None when nobody does. The access is noted under the contact's id.

    With an organisation, `text` may also be its own id of the contact. Raises `AmbiguousContact` when it is an
    address that several contacts have.
    """
    with stores.lake.reader() as cursor:
        rows = _candidates(cursor, text.strip(), organisation)
    if len(rows) > 1:
        raise AmbiguousContact(
            "CONTACT",
            f"{len(rows)} contacts go by it: {', '.join(f'{row[0]} of {row[1]}' for row in rows[:10])}",
            "Name one by its contact id, or its organisation with --organisation",
        )
    if not rows:
        return None
    contact_id, organisation_id, email, phone, is_erased = rows[0]
    with stores.ledger() as ledger:
        audit.note(
            ledger,
            actor=actor,
            action="pii-access",
            subject=audit.subject_of(organisation_id, bytes.fromhex(contact_id)),
            details={"purpose": purpose},
        )
    return KnownContact(
        contact_id=contact_id, organisation_id=organisation_id, email=email, phone=phone, is_erased=is_erased
    )


def unknown_contact(organisation: str | None) -> NotFound:
    """What to raise when nobody is known by what was given, which may be personal data itself."""
    fix = (
        "Give a contact id, an e-mail address, or a number that begins with +"
        if organisation
        else "Give a contact id, an e-mail address, a number that begins with +, or --organisation and its own id"
    )
    return NotFound("CONTACT", "nobody is known by it", fix)


def person_of(contact: KnownContact, asked: Asked, secret: bytes) -> Person:
    """How the ledger knows a contact: by its id, and by its addresses and the one it was asked for by."""
    keys = address_keys_of(contact.email, contact.phone, secret) | address_keys_of(
        asked.email, asked.phone, secret
    )
    return Person(
        organisation_id=contact.organisation_id,
        contact_id=contact.contact_id,
        subjects=[bytes.fromhex(contact.contact_id), *keys.values()],
    )


def address_keys_of(email: str | None, phone: str | None, secret: bytes) -> dict[Channel, bytes]:
    """The key of an address on each channel that may use it."""
    addresses = {Channel.EMAIL: email, Channel.SMS: phone, Channel.WHATSAPP: phone}
    return {
        channel: address_key(address, channel, secret)
        for channel, address in addresses.items()
        if address is not None
    }


def spellings_of(*addresses: str | None) -> list[Spellings]:
    """What to search for."""
    return [Spellings(address=address) for address in dict.fromkeys(filter(None, addresses))]


def _candidates(cursor: duckdb.DuckDBPyConnection, text: str, organisation: str | None) -> list[_Row]:
    asked = Asked.read(text)
    if _CONTACT_ID.fullmatch(text):
        return _rows(cursor, "contact_by_id", value=text)
    if organisation is not None and (
        rows := _rows(cursor, "contact_by_external_id", value=text, organisation=organisation)
    ):
        return rows
    if asked.email is not None:
        rows = _rows(cursor, "contact_by_email", value=asked.email, organisation=organisation)
        wanted = email_key(asked.email)
        return [row for row in rows if row[2] is not None and email_key(row[2]) == wanted]
    if asked.phone is not None:
        return _rows(cursor, "contact_by_phone", value=asked.phone, organisation=organisation)
    return []


def _rows(cursor: duckdb.DuckDBPyConnection, name: str, **parameters: object) -> list[_Row]:
    return cursor.execute(named_queries(_QUERIES)[name], parameters).fetchall()
