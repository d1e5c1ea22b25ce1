"""`campaign/dispatch` as ops: enqueue → lanes → settle. Thin: queueing lives in `planning`, sending in `dispatch`.

No retry policy anywhere here: what is sent twice is decided by the ledger alone.
"""

import time
from collections.abc import Iterator
from functools import partial

import dagster as dg
import polars as pl

from comms_pipeline import vocabulary
from comms_pipeline.dispatch import send as dispatch
from comms_pipeline.dispatch.engine import LaneReport
from comms_pipeline.domain.errors import CommsError
from comms_pipeline.ledger import batches, sends
from comms_pipeline.ledger.sends import Send
from comms_pipeline.loader.outcomes import load_outcomes
from comms_pipeline.loader.reconciliation import heard_of
from comms_pipeline.metadata import funnel_metadata, rows_table, story
from comms_pipeline.partitions import SENDS
from comms_pipeline.planning import stages
from comms_pipeline.resources.stores import StoresResource

_STOPPED = {"paused", "cancelled", "failed"}


class SettleConfig(dg.Config):
    """How old a doubt must be before the provider's own record is taken as complete."""

    reconcile_after_seconds: float = 300.0


@dg.op(
    ins={"messages": dg.In(dg.Nothing)},
    out=dg.DynamicOut(str),
    description="Puts the plan into the ledger's queue, once, and fans out into lanes.",
)
def enqueue(context: dg.OpExecutionContext, stores: StoresResource) -> Iterator[dg.DynamicOutput[str]]:
    """One dynamic output per lane with something to send."""
    send = stages.context_of(stores, context.partition_key)
    if send.send.status in _STOPPED:
        raise _not_sent(send.send)
    with stages.failing(stores, send.send.send_id):
        added = stages.enqueue_plan(stores, send)
    with stores.ledger() as ledger:
        if not sends.start_send(ledger, send.send.send_id):
            # Stopped meanwhile: what is queued stays there, and nobody may claim it.
            raise _not_sent(sends.get_send(ledger, send.send.send_id))
        lanes = batches.lanes_of_send(ledger, send.send.send_id)
    context.log.info(f"{added:,} messages enqueued; waiting per lane: {lanes}")
    for lane in lanes:
        yield dg.DynamicOutput(lane, mapping_key=lane.replace(":", "_"))


def _not_sent(send: Send) -> dg.Failure:
    return dg.Failure(f"send {send.send_id} is {send.status}: nothing was sent", allow_retries=False)


@dg.op(pool=vocabulary.LANE_POOL, description="Sends what is due in one lane: claim, mark, call, record.")
def send_lane(context: dg.OpExecutionContext, stores: StoresResource, lane: str) -> dict[str, dict[str, int]]:
    """What this run of the lane did, by the lane's name: milliseconds, batches, and messages by outcome."""
    reporter = _ProgressLog(context)
    started = time.monotonic()
    try:
        report = dispatch.run_lane(
            stores.ledger,
            stores.providers,
            lane=lane,
            send_id=context.partition_key,
            warming_up=stores.settings.warm_up,
            on_progress=reporter.log,
        )
    except CommsError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    seconds = round(time.monotonic() - started, 3)
    with stores.ledger() as ledger:
        left = batches.progress(ledger, context.partition_key, lane)
    context.add_output_metadata(
        {
            # Another lane's name when this one's provider was down.
            "lane": report.lane,
            "batches": report.batches,
            **report.counts,
            "seconds": seconds,
            "messages_per_second": _rate(sum(report.counts.values()), seconds),
            "waiting": left.waiting,
            "in_flight_elsewhere": left.in_flight,
            "in_doubt": left.in_doubt,
            "last_error": report.last_error or "none",
        }
    )
    return {report.lane: {"milliseconds": round(seconds * 1000), "batches": report.batches, **report.counts}}


def _rate(messages: float, seconds: float) -> float:
    return round(messages / max(seconds, 0.001), 1)


@dg.op(
    out=dg.Out(dg.Nothing),
    description="Asks providers about what is in doubt and loads outcomes into the lake.",
)
def settle(
    context: dg.OpExecutionContext,
    config: SettleConfig,
    stores: StoresResource,
    lanes: list[dict[str, dict[str, int]]],
) -> dg.Output[None]:
    """Every message's account of this send, counted in the lake."""
    send_id = context.partition_key
    settlement = dispatch.settle(
        stores.ledger,
        stores.providers,
        send_id=send_id,
        now=stores.now(),
        reconcile_after_seconds=config.reconcile_after_seconds,
        # `campaign/reconciliation` closes it, once the books agree.
        is_closing=False,
        heard=partial(heard_of, stores),
    )
    load_outcomes(stores)
    with stores.lake.reader() as cursor:
        funnel = stages.funnel(cursor, send_id)
    left = settlement.progress
    context.log.info(
        f"settled after {len(lanes)} lanes; {left.waiting:,} wait, {left.in_doubt:,} are in doubt"
    )
    return dg.Output(
        None,
        metadata={
            **story(send_id),
            **funnel_metadata(funnel),
            **_speed(lanes),
            "dagster/partition_row_count": funnel.messages,
            "reconciled_accepted": settlement.reconciled.accepted,
            "reconciled_released": settlement.reconciled.released,
            "still_unknown": settlement.reconciled.still_unknown,
        },
    )


def _speed(lanes: list[dict[str, dict[str, int]]]) -> dict[str, dg.MetadataValue]:
    """What the lanes of this run did; nothing in a run that found nothing to send."""
    done = [{"lane": name, **told} for lane in lanes for name, told in lane.items()]
    if not done:
        return {"lanes": rows_table([])}
    frame = pl.DataFrame(done, infer_schema_length=None).fill_null(0)
    messages = int(frame.drop("lane", "milliseconds", "batches").sum_horizontal().sum())
    seconds = int(frame["milliseconds"].sum()) / 1000
    return {
        "messages_per_second": dg.MetadataValue.float(_rate(messages, seconds)),
        "sending_seconds": dg.MetadataValue.float(seconds),
        "lanes": rows_table(frame.to_dicts()),
    }


@dg.graph_asset(
    key=vocabulary.DISPATCH,
    ins={"messages": dg.AssetIn(key=vocabulary.MESSAGES, dagster_type=dg.Nothing)},
    partitions_def=SENDS,
    group_name=vocabulary.SENDING_GROUP,
    owners=vocabulary.OPERATIONS,
    kinds={"postgres", "sendgrid", "twilio"},
    description="The sending itself. Claims batches in the ledger, marks them, calls the provider, records the "
    "outcome. Running it again sends only what was surely not sent.",
)
def dispatch_asset(messages: None) -> None:
    """enqueue → lanes → settle."""
    return settle(enqueue(messages).map(send_lane).collect())  # type: ignore[no-any-return]


class _ProgressLog:
    """Logs progress and rate of a lane at every doubling, so that a long send stays readable."""

    def __init__(self, context: dg.OpExecutionContext) -> None:
        self._context = context
        self._next = 1
        self._started = time.monotonic()

    def log(self, report: LaneReport) -> None:
        """Called after every recorded batch."""
        if report.batches >= self._next:
            self._next = report.batches * 2
            rate = sum(report.counts.values()) / (time.monotonic() - self._started)
            self._context.log.info(
                f"{report.lane}: {report.batches:,} batches, {report.counts}, {rate:,.0f} messages/s"
            )
