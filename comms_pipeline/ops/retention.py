"""Retention and the providers' part of erasures as ops. The terms and the work live in `privacy`."""

import dagster as dg

from comms_pipeline.privacy import provider_calls, retention
from comms_pipeline.resources.stores import StoresResource


@dg.op(description="Deletes personal data that is older than its term, class by class.")
def delete_expired(context: dg.OpExecutionContext, stores: StoresResource) -> None:
    """Numbers of rows only; deleting again finds nothing."""
    deleted = retention.apply(stores)
    context.add_output_metadata(
        {f"deleted_{data_class}": count for data_class, count in deleted.items()}
        | {f"keep_days_{data_class}": term.days for data_class, term in retention.RETENTION.items()}
    )


@dg.op(description="Asks providers for the erasures that are due on their side.")
def ask_providers(context: dg.OpExecutionContext, stores: StoresResource) -> None:
    """What fails is due again after 1, 5, 15 and 60 minutes, then daily."""
    carried_out = provider_calls.carry_out(stores)
    context.add_output_metadata(
        {
            "erasures_done": carried_out.done,
            "erasures_failed": carried_out.failed,
            "erasures_waiting": carried_out.waiting,
        }
    )


@dg.job(
    name="apply_retention",
    description="Daily: delete personal data whose term is over.",
    executor_def=dg.in_process_executor,
    tags={"dagster/max_runtime": "7200"},
)
def retention_job() -> None:
    """One step."""
    delete_expired()


@dg.job(
    name="erase_at_providers",
    description="Carry out queued erasures on the providers' side.",
    executor_def=dg.in_process_executor,
    tags={"dagster/max_runtime": "3600"},
)
def provider_erasure_job() -> None:
    """One step. Asking for an erasure twice does no harm, unlike a send."""
    ask_providers()
