"""Who is meant by a request for a copy or for erasure, and what to search for. The look-up itself is `people`'s.

Every look here shows or changes personal data, so each leaves a row in the audit trail.
"""

from comms_pipeline.ledger.erasure import Person as LedgerPerson
from comms_pipeline.people import Asked, Person, address_keys_of, find_person
from comms_pipeline.privacy.spellings import Spellings
from comms_pipeline.stores import Stores


def find_contact(
    stores: Stores, text: str, *, organisation: str | None = None, actor: str, purpose: str
) -> Person | None:
    """The one contact that goes by `text`, None when nobody does. The look is noted under the contact's id.

    With an organisation, `text` may also be its own id of the contact. Raises `Ambiguous` when it is an address that
    several contacts have.
    """
    with stores.ledger() as ledger, stores.lake.reader() as cursor:
        person = find_person(
            cursor,
            ledger,
            text,
            organisation,
            secret=stores.secret,
            actor=actor,
            purpose=purpose,
            is_always_noted=True,
        )
    return person if person is not None and person.row is not None else None


def person_of(contact: Person, asked: Asked, secret: bytes) -> LedgerPerson:
    """How the ledger knows a contact: by its id, and by its addresses and the one it was asked for by."""
    keys = contact.keys | address_keys_of(asked.email, asked.phone, secret)
    return LedgerPerson(
        organisation_id=contact.organisation_id,
        contact_id=contact.contact_id,
        subjects=[bytes.fromhex(contact.contact_id), *keys.values()],
    )


def spellings_of(*addresses: str | None) -> list[Spellings]:
    """What to search for."""
    return [Spellings(address=address) for address in dict.fromkeys(filter(None, addresses))]
