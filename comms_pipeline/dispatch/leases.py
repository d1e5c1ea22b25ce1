"""How long a claim holds, and taking over what dead workers left behind. Asks no provider."""

from dataclasses import dataclass

import psycopg

from comms_pipeline.dispatch.operations import sweep_cancelled
from comms_pipeline.dispatch.payload import pack, unpack
from comms_pipeline.domain.outcome import OutcomeStatus
from comms_pipeline.ledger import batches
from comms_pipeline.providers.base import same_result

_REQUEST_SECONDS = 35.0
"""A little more than the longest time one request may take."""


@dataclass(frozen=True, kw_only=True)
class Leases:
    """How long others leave a batch alone. `sending_seconds` is longer than any one request may take."""

    claim_seconds: float = 60.0
    sending_seconds: float = 120.0
    """From the mark on. No byte leaves later: whoever finds the batch then asks the provider about it."""

    @property
    def margin_seconds(self) -> float:
        """No request begins when less than this is left of a lease: it has to end within it."""
        return min(_REQUEST_SECONDS, self.sending_seconds / 2)


def expire(connection: psycopg.Connection) -> int:
    """Take over what dead workers left: claims are due again, sendings are unknown. Returns batches touched.

    What came back of cancelled sends is cancelled.
    """
    with connection.transaction():
        returned = batches.expire_claims(connection)
        doubtful = batches.expire_sending(connection)
        for batch_id, send_id, payload in doubtful:
            results = same_result(unpack(payload), OutcomeStatus.UNKNOWN)
            batches.record_outcome(connection, batch_id=batch_id, send_id=send_id, results=pack(results))
    sweep_cancelled(connection)
    return len(returned) + len(doubtful)
