"""Erasure of one person from every store (GDPR Art 17), and the proof of it. What is left leads to nobody.

The order matters: first nothing more may be sent, then the queue, the ledger and the providers, and last the lake,
which is where the address is known from. Whatever interrupts it, it can run again.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import psycopg

from comms_pipeline.dispatch.payload import unpack
from comms_pipeline.domain.errors import CommsError
from comms_pipeline.domain.event import SuppressionReason
from comms_pipeline.domain.outcome import OutcomeStatus
from comms_pipeline.ledger import audit, erasure
from comms_pipeline.ledger.server import Database, connect
from comms_pipeline.ledger.suppressions import EVERY_ORGANISATION, Suppression, suppress
from comms_pipeline.people import Asked, Person, address_keys_of, unknown_person
from comms_pipeline.privacy import in_lake, provider_calls, queued
from comms_pipeline.privacy.home_files import delete_exports, delete_previews
from comms_pipeline.privacy.lines import Line
from comms_pipeline.privacy.people import person_of, spellings_of
from comms_pipeline.privacy.proof import Proof, search
from comms_pipeline.privacy.provider_calls import CarriedOut
from comms_pipeline.privacy.spellings import REDACTED, Spellings
from comms_pipeline.stores import Stores

_SOURCE = "erasure"
_NAMED = 10
_VACUUM = {
    Database.LEDGER: (
        b"vacuum landing, batch, content, preference, personal_limit, recent_message, last_inbound, consent"
    ),
    Database.CATALOG: b"vacuum public.ducklake_file_column_stats, public.ducklake_table_column_stats",
}


class UnderWay(CommsError):
    """Messages to the person are in somebody's hands. Their address is suppressed already."""


@dataclass(frozen=True, kw_only=True)
class Erased:
    """What became of every store, what the providers said, and what a search found afterwards."""

    lines: list[Line]
    providers: CarriedOut
    proof: Proof | None
    """None when no address is known to search for: who was erased before was asked for by id."""


def erase(
    stores: Stores, contact: Person | None, text: str, *, organisation: str | None, actor: str
) -> Erased:
    """Erase a contact, or what there is about an address that no contact has; `text` is what was asked for.

    Raises `NotFound` when nobody is known and no address is given, `UnderWay` while messages to the person are being
    planned or sent; in that case the address is suppressed and nothing else is lost, so that it can run again.
    """
    asked = Asked.read(text)
    if contact is None and not asked.is_address:
        raise unknown_person(organisation)
    spellings = spellings_of(asked.email, asked.phone)
    lines = [_suppress(stores, contact, asked, organisation, actor)]
    if contact is not None:
        spellings = spellings_of(contact.email, contact.phone, asked.email, asked.phone)
        lines += _erase_from_ledger(stores, contact, asked)
    lines.append(_redact_landing(stores, spellings))
    if contact is not None:
        lines += in_lake.erase_contact(stores.lake, contact.contact_id, now=stores.now())
        lines.append(delete_exports(stores.settings, contact.contact_id))
    lines.append(in_lake.redact_texts(stores.lake, spellings))
    in_lake.forget(stores.lake)
    lines.append(delete_previews(spellings))
    _vacuum(stores)
    providers = provider_calls.carry_out(stores)
    return Erased(lines=lines, providers=providers, proof=search(stores, spellings) if spellings else None)


def _suppress(
    stores: Stores, contact: Person | None, asked: Asked, organisation: str | None, actor: str
) -> Line:
    """On every channel and for every purpose: an import may bring the address back, and nothing is sent to it."""
    keys = address_keys_of(asked.email, asked.phone, stores.secret)
    owner = organisation or EVERY_ORGANISATION
    subjects = list(keys.values())
    if contact is not None:
        keys |= address_keys_of(contact.email, contact.phone, stores.secret)
        owner = contact.organisation_id
        subjects = [bytes.fromhex(contact.contact_id)]
    rows = [
        Suppression(
            organisation_id=owner,
            channel=channel,
            address_key=key,
            reason=SuppressionReason.ERASED,
            source=_SOURCE,
            contact_id=contact.contact_id if contact else None,
        )
        for channel, key in keys.items()
    ]
    with stores.ledger() as ledger, ledger.transaction():
        suppress(ledger, rows)
        for subject in subjects:
            audit.note(
                ledger, actor=actor, action="erase", subject=audit.subject_of(owner, subject), details={}
            )
    fate = "kept: a keyed hash by channel, so that nothing is ever sent"
    return Line(store="ledger: suppression", rows=len(rows), fate=fate)


def _erase_from_ledger(stores: Stores, contact: Person, asked: Asked) -> list[Line]:
    messages, plans = in_lake.messages_of(stores.lake, contact.contact_id)
    send_ids, message_ids = messages["send_id"].unique().to_list(), messages["message_id"].to_list()
    with stores.ledger() as ledger:
        taken, in_hands = queued.take_out(ledger, send_ids, message_ids)
        planned = erasure.plans_not_queued(ledger, plans)
        if in_hands or planned:
            raise _under_way(in_hands, planned)
        added = _queue_for_providers(stores, ledger, contact, send_ids, message_ids)
        with ledger.transaction():
            contents = erasure.forget_contents(ledger, send_ids)
            deleted = erasure.forget(ledger, person_of(contact, asked, stores.secret))
    withdrawn = deleted.pop("consents")
    evidence = "withdrawn; the record stays under a keyed hash as evidence, without IP address"
    return [
        Line(store="ledger: batch", rows=taken, fate="taken out of the queue, recorded as cancelled"),
        Line(store="ledger: content", rows=contents, fate="deleted: texts of single messages"),
        Line(store="ledger: wishes and traces", rows=sum(deleted.values()), fate="deleted"),
        Line(store="ledger: consent", rows=withdrawn, fate=evidence),
        Line(store="ledger: provider_erasure", rows=added, fate="queued, encrypted; dropped once done"),
    ]


def _under_way(batch_ids: Sequence[int], send_ids: Sequence[str]) -> UnderWay:
    if batch_ids:
        names = ", ".join(map(str, batch_ids[:_NAMED]))
        problem = f"messages in batches {names} are being sent, or in doubt"
        return UnderWay("erasure", problem, "The address is suppressed; run this again once they are settled")
    problem = f"the plan of {', '.join(send_ids[:_NAMED])} is not in the queue yet"
    return UnderWay(
        "erasure", problem, "The address is suppressed; run or cancel the send, then run this again"
    )


def _queue_for_providers(
    stores: Stores,
    ledger: psycopg.Connection[Any],
    contact: Person,
    send_ids: Collection[str],
    message_ids: Collection[str],
) -> int:
    """Queue what providers must erase, also of messages whose outcome the lake does not hold yet."""
    if contact.is_erased:
        return 0
    known = in_lake.provider_ids_of(stores.lake, contact.contact_id)
    for lane, results in erasure.outcomes_of(ledger, send_ids):
        theirs = unpack(results).filter(
            pl.col("message_id").is_in(list(message_ids)), pl.col("status") == OutcomeStatus.ACCEPTED
        )
        known += [(lane.partition(":")[2], provider_id) for provider_id in theirs["provider_message_id"]]
    return provider_calls.queue(stores, provider_calls.needed(contact.email, known))


def _redact_landing(stores: Stores, spellings: Sequence[Spellings]) -> Line:
    """Webhooks keep their place and their ids: what is not loaded yet still loads."""
    changed: set[int] = set()
    for each in spellings:
        with stores.ledger() as ledger, ledger.transaction():
            for landing_id, query, body in erasure.landings_with(ledger, each.form_pattern):
                clean = each.erased_from(query.encode()).decode()
                erasure.rewrite_landing(ledger, landing_id, query=clean, body=each.erased_from(body))
                changed.add(landing_id)
    return Line(store="ledger: landing", rows=len(changed), fate=f"address replaced by {REDACTED}")


def _vacuum(stores: Stores) -> None:
    """Old versions of rows go from the pages too; what other sessions still see stays until the next vacuum."""
    for database, statement in _VACUUM.items():
        with connect(stores.server, database, autocommit=True) as connection:
            connection.execute(statement)
