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

from comms_pipeline.dispatch import warm_up
from comms_pipeline.dispatch.admission import Admitted, admit
from comms_pipeline.dispatch.breaker import Breaker
from comms_pipeline.dispatch.lane_health import LaneHealth
from comms_pipeline.dispatch.leases import Leases, expire
from comms_pipeline.dispatch.pacing import Pacer
from comms_pipeline.dispatch.payload import pack
from comms_pipeline.dispatch.policy import Verdict, judge
from comms_pipeline.domain.content import Content
from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.domain.outcome import OutcomeStatus
from comms_pipeline.domain.rate import Rate
from comms_pipeline.ledger import batches
from comms_pipeline.ledger.alerts import Trouble
from comms_pipeline.ledger.batches import LEAST_PRIORITY, Child
from comms_pipeline.providers.base import RESULTS, Envelope, Provider, SendReport, same_result

_IDLE_SECONDS = 0.5
_MOST_BATCHES = 32
"""So many batches at once, however few messages they have."""
_LONGEST_SLEEP_SECONDS = 5.0
"""A worker that waits to be woken looks by itself this often: leases run out without anybody telling."""


@dataclass(kw_only=True)
class LaneReport:
    """What one run of a lane did, in messages. `handed_over_to`: the lane that goes on, the provider being down."""

    lane: str
    counts: dict[str, int] = field(default_factory=dict)
    batches: int = 0
    last_error: str | None = None
    stopped_by: ProviderMisconfigured | None = None
    handed_over_to: str | None = None

    def add(self, results: pl.DataFrame) -> None:
        """Count one batch's results by status."""
        self.batches += 1
        for status, count in results["status"].value_counts().iter_rows():
            self.counts[status] = self.counts.get(status, 0) + count


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What a lane takes on: batches of one send only, if named, at least as urgent as `least_priority`.

    `linger_seconds`: how long to wait for batches of `send_id` that are due again soon. `is_endless`: never done,
    sleeps until woken.
    """

    send_id: str | None = None
    least_priority: int = LEAST_PRIORITY
    linger_seconds: float = 0.0
    is_endless: bool = False


class Lane:
    """One lane's sending loop. `connect` opens a ledger connection; the lane uses up to three, and closes them."""

    def __init__(
        self,
        *,
        lane: str,
        provider: Provider,
        connect: Callable[[], psycopg.Connection],
        worker: str,
        scope: Scope = Scope(),
        rate: Rate | None = None,
        stand_in: str | None = None,
        leases: Leases = Leases(),
        breaker: Breaker | None = None,
        on_progress: Callable[[LaneReport], None] = lambda _: None,
        randomness: random.Random | None = None,
    ) -> None:
        """`stand_in` is the lane that takes over what was surely not sent when the provider is down."""
        self.report = LaneReport(lane=lane)
        self._lane = lane
        self._provider = provider
        self._connect = connect
        self._worker = worker
        self._scope = scope
        self._stand_in = stand_in
        self._leases = leases
        self._breaker = breaker or Breaker()
        self._pacer = Pacer(lane, rate, connect)
        self._health = LaneHealth(lane)
        self._on_progress = on_progress
        # Jitter only spreads retries; nothing secret hangs on it.
        self._randomness = randomness or random.Random()  # noqa: S311
        self._contents: dict[str, Content] = {}
        self._done: asyncio.Queue[tuple[Admitted, SendReport]] = asyncio.Queue()
        self._recorded = asyncio.Event()
        self._called = asyncio.Event()
        self._width = provider.limits.concurrency
        self._calls = 0
        self._woken = asyncio.Event()
        self._in_flight = 0
        self._is_stopping = False

    def stop(self) -> None:
        """Claim nothing more; `run` returns once what is in flight is recorded."""
        self._is_stopping = True
        self._woken.set()

    def wake(self) -> None:
        """Something may be due: an endless lane looks at once."""
        self._woken.set()

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
            finally:
                self._pacer.close()
        return self.report

    async def _feed(self, claiming: psycopg.Connection, tasks: asyncio.TaskGroup) -> None:
        """Claim and start calls, as many batches at a time as there is room for, until nothing is due or in flight."""
        waited = 0.0
        while True:
            was_busy = self._in_flight > 0
            self._woken.clear()
            # Read before marking, so that our lease never ends after the ledger's.
            until = asyncio.get_running_loop().time() + self._leases.sending_seconds
            limit = self._claimable()
            jobs = await asyncio.to_thread(self._take, claiming, limit) if limit else []
            self._widen(jobs)
            for job in jobs:
                while self._calls >= self._width:
                    self._called.clear()
                    await self._called.wait()
                self._calls += 1
                self._in_flight += 1
                tasks.create_task(self._call(job, until))
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
                await self._sleep(pause)

    def _claimable(self) -> int:
        """How many batches may be claimed now. One tries again when a provider has rested."""
        if self._is_stopping or self._breaker.rest_seconds > 0:
            return 0
        if self._breaker.is_open:
            return 0 if self._in_flight else 1
        return self._width

    def _widen(self, jobs: list[Admitted]) -> None:
        """Let more batches go at once in a worker while many small ones are due, as urgent messages are.

        A provider's concurrency is meant for batches as large as it takes: those of one message would wait for
        each other's round trips. The lane of one send claims no further ahead, so that pausing it is prompt.
        """
        limits = self._provider.limits
        self._width = limits.concurrency
        if self._scope.is_endless and len(jobs) >= limits.concurrency:
            largest = max(job.claim.message_count for job in jobs)
            fitting = limits.concurrency * limits.batch_size // largest
            self._width = max(limits.concurrency, min(fitting, _MOST_BATCHES))

    async def _sleep(self, seconds: float) -> None:
        if not self._scope.is_endless:
            await asyncio.sleep(seconds)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass

    def _pause(self, claiming: psycopg.Connection, waited: float) -> float | None:
        """Seconds to wait for work that is due soon; `None` when waiting is not worth while."""
        if self._is_stopping:
            return None
        expire(claiming)
        rest = self._breaker.rest_seconds
        if self._scope.is_endless:
            with claiming.transaction():
                due_in = batches.next_due(claiming, self._lane, self._scope.least_priority)
            # What is due and yet not ours is stopped, or in other hands: no reason to ask without end.
            due_in = _IDLE_SECONDS if due_in is not None and due_in <= 0 else due_in
            soon = _LONGEST_SLEEP_SECONDS if due_in is None else due_in
            return min(max(soon, rest), _LONGEST_SLEEP_SECONDS)
        if self._scope.send_id is None:
            return None
        with claiming.transaction():
            progress = batches.progress(claiming, self._scope.send_id, self._lane)
        # What another worker has in hand comes back if it died: its lease ends within our patience.
        due_in = _IDLE_SECONDS if progress.in_flight else progress.due_in_seconds
        if due_in is None or waited + max(due_in, rest, 0.0) > self._scope.linger_seconds:
            return None
        return max(due_in, rest, _IDLE_SECONDS)

    def _take(self, claiming: psycopg.Connection, limit: int) -> list[Admitted]:
        """Claim, check, mark as sending: durable when this returns."""
        with claiming.transaction():
            claims = batches.claim_due(
                claiming,
                lane=self._lane,
                worker=self._worker,
                limit=limit,
                lease_seconds=self._leases.claim_seconds,
                send_id=self._scope.send_id,
                least_priority=self._scope.least_priority,
            )
            if not claims:
                return []
            claims = warm_up.cut(claiming, self._lane, claims)
            self._load_contents(claiming, {claim.content_id for claim in claims})
            admission = admit(claiming, claims)
            batches.postpone(claiming, admission.postponed)
            going = [job.claim for job in admission.admitted]
            marked = batches.mark_sending(claiming, going, lease_seconds=self._leases.sending_seconds)
            if len(marked) < len(going):
                batches.release_claims(claiming, [claim for claim in going if claim.batch_id not in marked])
        return [job for job in admission.admitted if job.claim.batch_id in marked]

    def _load_contents(self, connection: psycopg.Connection, wanted: set[str]) -> None:
        missing = wanted - self._contents.keys()
        if missing:
            found = batches.contents(connection, sorted(missing))
            self._contents |= {key: Content.from_dict(body) for key, body in found.items()}

    async def _call(self, job: Admitted, until: float) -> None:
        """Call the provider within the batch's lease, which ends at `until` by the loop's clock."""
        report = self._spared(job, until)
        try:
            if report is None:
                report = await self._send(job, until)
                # Before anybody else's turn: what follows may have to be spared.
                self._learn(report)
                await self._adapt(report)
        finally:
            self._calls -= 1
            self._called.set()
        self._done.put_nowait((job, report))

    def _spared(self, job: Admitted, until: float) -> SendReport | None:
        """What is reported of a batch of which not a byte leaves; None for one to be sent."""
        if job.payload.height == 0:
            return SendReport(results=RESULTS.to_frame())
        is_late = asyncio.get_running_loop().time() >= until
        rest = self._breaker.rest_seconds
        if not is_late and rest == 0 and self.report.stopped_by is None:
            return None
        # Marked, but it waited for its turn too long, or others found out meanwhile that nothing goes.
        return SendReport(
            results=same_result(job.payload, OutcomeStatus.DEFERRED),
            retry_after_seconds=rest,
            stop=self.report.stopped_by,
        )

    async def _send(self, job: Admitted, until: float) -> SendReport:
        latest = until - self._leases.margin_seconds
        envelope = Envelope(
            batch_id=job.claim.batch_id,
            send_id=job.claim.send_id,
            organisation_id=job.claim.organisation_id,
            content=self._contents[job.claim.content_id],
            recipients=job.payload,
            pace=lambda: self._turn(latest),
        )
        try:
            async with asyncio.timeout_at(until):
                return await self._provider.send(envelope)
        except TimeoutError:
            return SendReport(
                results=same_result(job.payload, OutcomeStatus.UNKNOWN),
                error="the lease ran out while sending",
            )

    async def _turn(self, latest: float) -> float:
        """A request's turn, as `Pace` wants it. What is left of a batch does not go to a provider that is down."""
        return self._breaker.rest_seconds or await self._pacer.wait(latest)

    def _learn(self, report: SendReport) -> None:
        """What a report says of the provider's health, for the batches after it."""
        self._breaker.note(report)
        if report.stop is not None:
            self.report.stopped_by = report.stop
            self._health.is_in_trouble(Trouble.MISCONFIGURED, str(report.stop))
            self.stop()
        elif self._breaker.is_open:
            self._health.is_in_trouble(Trouble.DOWN, report.error or "it answers with faults")
            if self._stand_in is not None:
                self.report.handed_over_to = self._stand_in
                self.stop()
        elif report.error is None:
            self._health.is_well()

    async def _adapt(self, report: SendReport) -> None:
        """Go as fast as the provider likes it."""
        if report.is_throttled:
            await self._pacer.slow_down(report.retry_after_seconds or 1.0)
        elif report.error is None:
            await self._pacer.speed_up()

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

    def _write(self, recording: psycopg.Connection, finished: list[tuple[Admitted, SendReport]]) -> None:
        with recording.transaction():
            for job, report in finished:
                verdict = judge(job.payload, report, attempt=job.claim.attempt, randomness=self._randomness)
                results = pl.concat([verdict.results, job.dropped]) if job.dropped.height else verdict.results
                is_ours = batches.record(
                    recording,
                    job.claim,
                    results=pack(results),
                    error=report.error,
                    in_doubt=(pack(verdict.in_doubt), verdict.in_doubt.height)
                    if verdict.in_doubt.height
                    else None,
                    children=self._children(verdict, report),
                )
                if is_ours:
                    self.report.add(results)
                    self.report.last_error = report.error or self.report.last_error
            self._health.tell(recording)

    def _children(self, verdict: Verdict, report: SendReport) -> list[Child]:
        """What goes on of a batch: later, at once through the stand-in, or as a dead letter."""
        children = []
        if verdict.again.height:
            takes_over = self.report.handed_over_to if report.stop is None else None
            children.append(
                Child(
                    payload=pack(verdict.again),
                    message_count=verdict.again.height,
                    delay_seconds=0.0 if takes_over else verdict.delay_seconds,
                    attempt=verdict.attempt,
                    lane=takes_over,
                )
            )
        if verdict.dead.height:
            children.append(
                Child(
                    payload=pack(verdict.dead),
                    message_count=verdict.dead.height,
                    delay_seconds=0.0,
                    attempt=verdict.attempt,
                    is_dead=True,
                )
            )
        return children
