"""The sending engine: claim, check, mark, call, record. Knows no Dagster and no provider by name.

One loop claims ahead while calls are under way and a recorder writes outcomes in bulk. Whatever stops it,
the ledger tells what was sent: marked before bytes leave, recorded after the answer, unknown in between.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl
import psycopg

from comms_pipeline.dispatch.leases import Leases, expire
from comms_pipeline.dispatch.payload import pack, unpack
from comms_pipeline.dispatch.policy import judge
from comms_pipeline.domain.content import Content
from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.outcome import OutcomeStatus, RejectReason
from comms_pipeline.ledger import batches, suppressions
from comms_pipeline.ledger.batches import Child, Claim
from comms_pipeline.providers.base import RESULTS, Envelope, Provider, SendReport, same_result

_IDLE_SECONDS = 0.5


@dataclass(kw_only=True)
class LaneReport:
    """What one run of a lane did, in messages."""

    lane: str
    counts: dict[str, int] = field(default_factory=dict)
    batches: int = 0
    last_error: str | None = None
    stopped_by: ProviderMisconfigured | None = None

    def add(self, results: pl.DataFrame) -> None:
        """Count one batch's results by status."""
        self.batches += 1
        for status, count in results["status"].value_counts().iter_rows():
            self.counts[status] = self.counts.get(status, 0) + count


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A claimed batch: who gets it, and who was dropped at the last moment."""

    claim: Claim
    content: Content
    payload: pl.DataFrame
    dropped: pl.DataFrame


class Lane:
    """One lane's sending loop. `connect` opens a ledger connection; the lane uses two, and closes them."""

    def __init__(
        self,
        *,
        lane: str,
        provider: Provider,
        connect: Callable[[], psycopg.Connection],
        worker: str,
        send_id: str | None = None,
        linger_seconds: float = 0.0,
        leases: Leases = Leases(),
        on_progress: Callable[[LaneReport], None] = lambda _: None,
        randomness: random.Random | None = None,
    ) -> None:
        """`linger_seconds`: how long to wait for batches of `send_id` that are due again soon."""
        self.report = LaneReport(lane=lane)
        self._lane = lane
        self._provider = provider
        self._connect = connect
        self._worker = worker
        self._send_id = send_id
        self._linger_seconds = linger_seconds
        self._leases = leases
        self._on_progress = on_progress
        # Jitter only spreads retries; nothing secret hangs on it.
        self._randomness = randomness or random.Random()  # noqa: S311
        self._contents: dict[str, Content] = {}
        self._done: asyncio.Queue[tuple[_Job, SendReport]] = asyncio.Queue()
        self._recorded = asyncio.Event()
        self._in_flight = 0
        self._is_stopping = False

    def stop(self) -> None:
        """Claim nothing more; `run` returns once what is in flight is recorded."""
        self._is_stopping = True

    async def run(self) -> LaneReport:
        """Send until nothing of this lane is due. Raises nothing a provider can cause; see the report."""
        with self._connect() as claiming, self._connect() as recording:
            try:
                async with self._provider, asyncio.TaskGroup() as tasks:
                    # In one group: should the recorder fail, nothing more is claimed or called.
                    recorder = tasks.create_task(self._record(recording))
                    await self._feed(claiming, tasks)
                    recorder.cancel()
            except ExceptionGroup as group:
                # The first is the cause; the others are its echo in the sister tasks.
                raise group.exceptions[0] from None
        return self.report

    async def _feed(self, claiming: psycopg.Connection, tasks: asyncio.TaskGroup) -> None:
        """Claim and start calls, `concurrency` batches at a time, until all is recorded and nothing is due."""
        room = asyncio.Semaphore(self._provider.limits.concurrency)
        waited = 0.0
        while True:
            was_busy = self._in_flight > 0
            # Read before marking, so that our lease never ends after the ledger's.
            until = asyncio.get_running_loop().time() + self._leases.sending_seconds
            jobs = [] if self._is_stopping else await asyncio.to_thread(self._take, claiming)
            for job in jobs:
                await room.acquire()
                self._in_flight += 1
                tasks.create_task(self._call(job, room, until))
            if jobs:
                waited = 0.0
            elif self._in_flight:
                self._recorded.clear()
                await self._recorded.wait()
            elif not was_busy:
                # What is in flight may come back as a child that is due at once: only now is nothing due.
                pause = await asyncio.to_thread(self._pause, claiming, waited)
                if pause is None:
                    return
                waited += pause
                await asyncio.sleep(pause)

    def _pause(self, claiming: psycopg.Connection, waited: float) -> float | None:
        """Seconds to wait for work that is due soon; `None` when waiting is not worth while."""
        if self._is_stopping or self._send_id is None:
            return None
        expire(claiming)
        with claiming.transaction():
            progress = batches.progress(claiming, self._send_id, self._lane)
        # What another worker has in hand comes back if it died: its lease ends within our patience.
        due_in = _IDLE_SECONDS if progress.in_flight else progress.due_in_seconds
        if due_in is None or waited + max(due_in, 0.0) > self._linger_seconds:
            return None
        return max(due_in, _IDLE_SECONDS)

    def _take(self, claiming: psycopg.Connection) -> list[_Job]:
        """Claim, check suppressions, mark as sending: durable when this returns."""
        with claiming.transaction():
            claims = batches.claim_due(
                claiming,
                lane=self._lane,
                worker=self._worker,
                limit=self._provider.limits.concurrency,
                lease_seconds=self._leases.claim_seconds,
                send_id=self._send_id,
            )
        if not claims:
            return []
        with claiming.transaction():
            self._load_contents(claiming, {claim.content_id for claim in claims})
            jobs = [self._check(claiming, claim) for claim in claims]
            marked = batches.mark_sending(claiming, claims, lease_seconds=self._leases.sending_seconds)
            batches.release_claims(claiming, [c for c in claims if c.batch_id not in marked])
        return [job for job in jobs if job.claim.batch_id in marked]

    def _load_contents(self, connection: psycopg.Connection, wanted: set[str]) -> None:
        missing = wanted - self._contents.keys()
        if missing:
            found = batches.contents(connection, sorted(missing))
            self._contents |= {key: Content.from_dict(body) for key, body in found.items()}

    def _check(self, connection: psycopg.Connection, claim: Claim) -> _Job:
        """Postgres decides: whoever opted out since the plan was made is dropped here."""
        payload = unpack(claim.payload)
        suppressed = suppressions.suppressed(
            connection, claim.organisation_id, Channel(claim.channel), payload["address_key"].to_list()
        )
        is_suppressed = payload["address_key"].is_in(pl.Series(list(suppressed), dtype=pl.Binary).implode())
        return _Job(
            claim=claim,
            content=self._contents[claim.content_id],
            payload=payload.filter(~is_suppressed),
            dropped=same_result(
                payload.filter(is_suppressed), OutcomeStatus.REFUSED, reason=RejectReason.SUPPRESSED
            ),
        )

    async def _call(self, job: _Job, room: asyncio.Semaphore, until: float) -> None:
        """Call the provider within the batch's lease, which ends at `until` by the loop's clock."""
        try:
            async with asyncio.timeout_at(until):
                report = await self._send(job, until)
        except TimeoutError:
            report = SendReport(
                results=same_result(job.payload, OutcomeStatus.UNKNOWN),
                error="the lease ran out while sending",
            )
        finally:
            room.release()
        if report.stop is not None:
            self.report.stopped_by = report.stop
            self.stop()
        self._done.put_nowait((job, report))

    async def _send(self, job: _Job, until: float) -> SendReport:
        if job.payload.height == 0:
            return SendReport(results=RESULTS.to_frame())
        is_late = asyncio.get_running_loop().time() >= until
        if is_late or self.report.stopped_by is not None:
            # Marked, but it had to wait for its turn too long: not a byte left.
            return SendReport(
                results=same_result(job.payload, OutcomeStatus.DEFERRED),
                retry_after_seconds=0.0,
                stop=self.report.stopped_by,
            )
        return await self._provider.send(
            Envelope(
                batch_id=job.claim.batch_id,
                send_id=job.claim.send_id,
                organisation_id=job.claim.organisation_id,
                content=job.content,
                recipients=job.payload,
            )
        )

    async def _record(self, recording: psycopg.Connection) -> None:
        """Write whatever has come in, in one transaction, again and again."""
        while True:
            finished = [await self._done.get()]
            while not self._done.empty():
                finished.append(self._done.get_nowait())
            await asyncio.to_thread(self._write, recording, finished)
            for _ in finished:
                self._in_flight -= 1
            self._recorded.set()
            self._on_progress(self.report)

    def _write(self, recording: psycopg.Connection, finished: list[tuple[_Job, SendReport]]) -> None:
        with recording.transaction():
            for job, report in finished:
                verdict = judge(job.payload, report, attempt=job.claim.attempt, randomness=self._randomness)
                results = pl.concat([verdict.results, job.dropped])
                again = verdict.again
                is_ours = batches.record(
                    recording,
                    job.claim,
                    results=pack(results),
                    error=report.error,
                    in_doubt=(pack(verdict.in_doubt), verdict.in_doubt.height)
                    if verdict.in_doubt.height
                    else None,
                    children=[
                        Child(
                            payload=pack(again),
                            message_count=again.height,
                            delay_seconds=verdict.delay_seconds,
                            attempt=verdict.attempt,
                        )
                    ]
                    if again.height
                    else [],
                )
                if is_ours:
                    self.report.add(results)
                    self.report.last_error = report.error or self.report.last_error
