"""Finds one contact by what somebody knows of it. Shows no address; a look-up by address leaves an audit row."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb
import psycopg

from comms_pipeline.domain.addresses import address_key, normalise_email, normalise_phone
from comms_pipeline.domain.errors import CommsError, NotFound
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import audit
from comms_pipeline.planning.holders import ADDRESS_COLUMN
from comms_pipeline.sqlfiles import named_queries

_QUERIES = "lake/queries/story.sql"
_CONTACT_ID = re.compile(r"[0-9a-f]{32}")
_SHOWN = 5
_NO_REGION = "ZZ"
"""Where numbers are dialled from of whom nobody knows where: only those with a "+" have a meaning."""


class Ambiguous(CommsError):
    """Several contacts are known by the same address or external id."""


@dataclass(frozen=True, kw_only=True)
class Person:
    """One contact of one organisation. `row`: its row of `core.contacts`, None when there is none any more."""

    contact_id: str
    organisation_id: str
    row: Mapping[str, Any] | None
    secret: bytes

    @property
    def is_erased(self) -> bool:
        """Whether its data was erased on request."""
        return self.row is not None and bool(self.row["is_erased"])

    @cached_property
    def keys(self) -> dict[Channel, bytes]:
        """The keyed hash of its address, by the channels on which it has one."""
        row = self.row or {}
        return {
            channel: address_key(row[column], channel, self.secret)
            for channel, column in ADDRESS_COLUMN.items()
            if row.get(column)
        }

    @property
    def subjects(self) -> list[bytes]:
        """All that it goes by in the ledger: its id and its address keys."""
        return [bytes.fromhex(self.contact_id), *self.keys.values()]


def find_person(
    cursor: duckdb.DuckDBPyConnection,
    ledger: psycopg.Connection,
    known_by: str,
    organisation_id: str,
    *,
    secret: bytes,
    actor: str,
    purpose: str,
) -> Person:
    """The organisation's contact of this id, external id, e-mail address or phone number (with "+").

    Whoever asks by address learns whether it is known: that is noted in the audit trail, found or not.
    Raises `NotFound`, and `Ambiguous` when several have it.
    """
    text = known_by.strip()
    if _CONTACT_ID.fullmatch(text):
        return _by_id(cursor, text, organisation_id, secret)
    found = _rows(cursor, "contact_by_external_id", text, organisation_id)
    if not found:
        channel, address = _as_address(text)
        if channel is not None:
            found = _rows(cursor, f"contact_by_{ADDRESS_COLUMN[channel]}", address, organisation_id)
            key = address_key(address, channel, secret)
            for subject in [bytes.fromhex(row["contact_id"]) for row in found] or [key]:
                audit.note(
                    ledger,
                    actor=actor,
                    action="pii-access",
                    subject=audit.subject_of(organisation_id, subject),
                    details={"by": ADDRESS_COLUMN[channel], "for": purpose, "found": len(found)},
                )
    if not found:
        raise _unknown(organisation_id)
    if len(found) > 1:
        ids = ", ".join(row["contact_id"] for row in found[:_SHOWN])
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise Ambiguous(
            "contact", f"{len(found)} contacts of {organisation_id} have this", f"Name one: {ids}{more}"
        )
    return Person(
        contact_id=found[0]["contact_id"], organisation_id=organisation_id, row=found[0], secret=secret
    )


def _by_id(cursor: duckdb.DuckDBPyConnection, contact_id: str, organisation_id: str, secret: bytes) -> Person:
    found = _rows(cursor, "contact_by_id", contact_id, organisation_id)
    if not found:
        owner = cursor.execute(named_queries(_QUERIES)["owner_of"], {"contact_id": contact_id}).fetchone()
        if owner is None:
            raise _unknown(organisation_id)
        if owner[0] != organisation_id:
            raise NotFound(
                f"contact {contact_id}",
                f"it is one of {owner[0]}, not of {organisation_id}",
                f"Add --organisation {owner[0]}",
            )
    return Person(
        contact_id=contact_id,
        organisation_id=organisation_id,
        row=found[0] if found else None,
        secret=secret,
    )


def _as_address(text: str) -> tuple[Channel | None, str]:
    """The channel an address is of, and its normal form; None for what is none."""
    if "@" in text:
        email = normalise_email(text)
        return (Channel.EMAIL, email) if email else (None, "")
    phone = normalise_phone(text, _NO_REGION)
    return (Channel.SMS, phone) if phone else (None, "")


def _rows(
    cursor: duckdb.DuckDBPyConnection, query: str, value: str, organisation_id: str
) -> list[dict[str, Any]]:
    parameters = {"value": value, "organisation": organisation_id}
    return cursor.execute(named_queries(_QUERIES)[query], parameters).pl().rows(named=True)


def _unknown(organisation_id: str) -> NotFound:
    # What was typed may be an address: it is not repeated.
    return NotFound(
        "contact",
        f"{organisation_id} knows nobody by this",
        "Give a contact id, an external id, an e-mail address, or a phone number with + and country code",
    )
