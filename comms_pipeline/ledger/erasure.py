"""One person in the ledger: what there is, and making it go. Also how long personal data of each kind is kept.

Every function is one round trip inside the caller's transaction. Payloads are opened, and decisions taken, elsewhere.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import class_row, dict_row

from comms_pipeline.sqlfiles import named_queries

_SQL = "ledger/queries/erasure.sql"
_EXPORTS = ("preferences", "limits", "consents", "suppressions", "recent_messages", "last_inbound")
_DELETES = ("preferences", "limits", "last_inbound", "recent_messages")
_CONTENTS = ("put_erased_content", "leave_contents", "delete_contents")


@dataclass(frozen=True, kw_only=True)
class Person:
    """How the ledger knows somebody: by contact id and by the keyed hashes of the addresses, 16 bytes each."""

    organisation_id: str
    contact_id: str
    subjects: Sequence[bytes]


class QueuedBatch(NamedTuple):
    """A batch whose messages are still in the queue; `payload` is Arrow IPC."""

    batch_id: int
    send_id: str
    status: str
    payload: bytes


@dataclass(frozen=True, kw_only=True)
class ProviderErasure:
    """An erasure to be asked of a provider. `reference` is encrypted: what the provider knows the person by."""

    erasure_id: int
    provider: str
    reference: str
    attempts: int


def _run(connection: psycopg.Connection[Any], name: str, **parameters: object) -> psycopg.Cursor[Any]:
    return connection.execute(named_queries(_SQL)[name], parameters)


def records_of(connection: psycopg.Connection[Any], person: Person) -> dict[str, list[dict[str, Any]]]:
    """Everything kept about somebody outside the queue, by table."""
    found = {}
    with connection.cursor(row_factory=dict_row) as cursor:
        for table in _EXPORTS:
            cursor.execute(named_queries(_SQL)[f"export_{table}"], vars(person))
            found[table] = cursor.fetchall()
    return found


def queued_batches(connection: psycopg.Connection[Any], send_ids: Collection[str]) -> list[tuple[int, str]]:
    """Batches of these sends that still have their payload: ids and states."""
    rows = _run(connection, "batches_with_payload", send_ids=list(send_ids))
    return [(batch_id, status) for batch_id, _, status in rows]


def payload_of(connection: psycopg.Connection[Any], batch_id: int) -> QueuedBatch | None:
    """A batch as it is; None once it is over."""
    row = _run(connection, "payload", batch_id=batch_id).fetchone()
    return QueuedBatch(*row) if row else None


def lock_payload(connection: psycopg.Connection[Any], batch_id: int) -> QueuedBatch | None:
    """A batch that waits, locked until the transaction ends; None when it is in a worker's hands, or over."""
    row = _run(connection, "lock_payload", batch_id=batch_id).fetchone()
    return QueuedBatch(*row) if row else None


def shrink_batch(
    connection: psycopg.Connection[Any], batch_id: int, *, payload: bytes, message_count: int
) -> None:
    """Leave these messages in a batch that `lock_payload` gave."""
    _run(connection, "shrink_batch", batch_id=batch_id, payload=payload, message_count=message_count)


def plans_not_queued(connection: psycopg.Connection[Any], plans: Sequence[tuple[str, int]]) -> list[str]:
    """Which sends have one of these plans (send, generation) still ahead of them."""
    rows = _run(
        connection,
        "plans_not_queued",
        send_ids=[send_id for send_id, _ in plans],
        generations=[generation for _, generation in plans],
    )
    return [row[0] for row in rows]


def outcomes_of(connection: psycopg.Connection[Any], send_ids: Collection[str]) -> list[tuple[str, bytes]]:
    """Lane and results (Arrow IPC) of what these sends' batches came to, as far as the feed still has it."""
    return _run(connection, "outcomes_of_sends", send_ids=list(send_ids)).fetchall()


def forget_contents(connection: psycopg.Connection[Any], send_ids: Collection[str]) -> int:
    """Delete texts of these sends that one finished message had to itself; returns how many."""
    contents = [row[0] for row in _run(connection, "lone_contents", send_ids=list(send_ids))]
    for name in _CONTENTS if contents else ():
        _run(connection, name, **({} if name == "put_erased_content" else {"content_ids": contents}))
    return len(contents)


def forget(connection: psycopg.Connection[Any], person: Person) -> dict[str, int]:
    """Delete wishes and traces, withdraw consents and take what is not evidence out of them; rows by table."""
    parameters = vars(person)
    deleted = {table: _run(connection, f"delete_{table}", **parameters).rowcount for table in _DELETES}
    withdrawn = _run(connection, "withdraw_consents", **parameters).rowcount
    _run(connection, "blank_consents", **parameters)
    return deleted | {"consents": withdrawn}


def landings_with(connection: psycopg.Connection[Any], pattern: str) -> list[tuple[int, str, bytes]]:
    """Landed webhooks that hold the pattern, locked: id, query string, body."""
    return _run(connection, "landings_with", pattern=pattern).fetchall()


def rewrite_landing(connection: psycopg.Connection[Any], landing_id: int, *, query: str, body: bytes) -> None:
    """Replace what a webhook brought."""
    _run(connection, "rewrite_landing", landing_id=landing_id, query=query, body=body)


def open_provider_erasures(connection: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    """Provider and encrypted reference of each erasure not carried out yet."""
    return _run(connection, "open_provider_erasures").fetchall()


def add_provider_erasures(connection: psycopg.Connection[Any], rows: Collection[tuple[str, str]]) -> None:
    """Queue erasures: provider and encrypted reference. They are due at once."""
    with connection.cursor() as cursor:
        cursor.executemany(
            named_queries(_SQL)["add_provider_erasure"],
            [{"provider": provider, "reference": reference} for provider, reference in rows],
        )


def due_provider_erasures(connection: psycopg.Connection[Any], limit: int) -> list[ProviderErasure]:
    """Erasures that are due, locked until the transaction ends; others skip them."""
    with connection.cursor(row_factory=class_row(ProviderErasure)) as cursor:
        return cursor.execute(named_queries(_SQL)["due_provider_erasures"], {"limit": limit}).fetchall()


def provider_erasures_done(connection: psycopg.Connection[Any], erasure_ids: Sequence[int]) -> None:
    """The providers took them; what they knew the person by is dropped."""
    _run(connection, "provider_erasures_done", erasure_ids=list(erasure_ids))


def provider_erasures_failed(
    connection: psycopg.Connection[Any], erasure_ids: Sequence[int], *, error: str, delay_seconds: float
) -> None:
    """To be tried again later. `error` is a short text without personal data."""
    _run(
        connection,
        "provider_erasures_failed",
        erasure_ids=list(erasure_ids),
        error=error,
        delay_seconds=delay_seconds,
    )


def provider_erasures_waiting(connection: psycopg.Connection[Any]) -> tuple[int, int]:
    """How many wait, and how many of them are due."""
    row = _run(connection, "provider_erasures_waiting").fetchone()
    return (row[0], row[1]) if row else (0, 0)


def purge(connection: psycopg.Connection[Any], keep_days: Mapping[str, int]) -> dict[str, int]:
    """Delete what is older than its days, by table (`consents`, `audit`, `provider_erasures`); rows by table."""
    return {
        table: _run(connection, f"purge_{table}", days=days).rowcount for table, days in keep_days.items()
    }
