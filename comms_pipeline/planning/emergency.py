"""The trail of emergencies: why a campaign may reach people at hours when others may not. Decides nothing."""

import psycopg

from comms_pipeline.domain.message import MessageClass
from comms_pipeline.ledger import audit
from comms_pipeline.planning.context import SendContext
from comms_pipeline.sqlfiles import named_queries

ACTION = "emergency"


def note_emergency(connection: psycopg.Connection, context: SendContext, *, actor: str = "planning") -> bool:
    """Note the reason of an emergency's send, once for each send; `False` when there is nothing to note.

    Opens a transaction, or a savepoint in the caller's.
    """
    if context.spec.message_class is not MessageClass.EMERGENCY:
        return False
    subject = f"send/{context.send.send_id}"
    queries = named_queries("ledger/queries/emergencies.sql")
    with connection.transaction():
        # Two runs of one send must not both find no row.
        connection.execute(queries["lock_trail"], {"subject": subject})
        if connection.execute(queries["is_noted"], {"subject": subject, "action": ACTION}).fetchone():
            return False
        audit.note(
            connection,
            actor=actor,
            action=ACTION,
            subject=subject,
            details={
                "reason": context.spec.emergency_reason,
                "campaign": context.spec.id,
                "version": context.send.version,
            },
        )
    return True
