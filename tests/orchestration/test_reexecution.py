"""Running a failed send again from where it failed, as the button in the Dagster UI does."""

import dagster as dg
from running import Dagster, send_campaign_of, write_settings
from sending import SandboxProcess

SEND = "open-day"


def execute(
    gallery: Dagster, instance: dg.DagsterInstance, after: str | None = None
) -> dg.JobExecutionResult:
    """Run the job, or run it again from the failure of the run `after`."""
    job = dg.build_reconstructable_job(
        reconstructor_module_name="running",
        reconstructor_function_name=send_campaign_of.__name__,
        # A new process would read the settings anew; here the second argument keeps Dagster from caching.
        reconstructable_args=(str(gallery.stores.settings.home), after or ""),
    )
    options = dg.ReexecutionOptions.from_failure(after, instance) if after else None
    return dg.execute_job(
        job,
        instance,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        tags={"dagster/partition": SEND},
        reexecution_options=options,
    )


def steps(result: dg.JobExecutionResult, kind: dg.DagsterEventType) -> list[str]:
    return sorted(e.step_key for e in result.all_events if e.event_type is kind and e.step_key)


def test_only_the_failed_lane_runs_again_once_its_key_is_right(
    gallery: Dagster, durable_instance: dg.DagsterInstance, sandbox: SandboxProcess
) -> None:
    settings = gallery.stores.settings
    write_settings(settings, sendgrid_api_key="SG.wrong")
    gallery.create_send(SEND)
    durable_instance.add_dynamic_partitions("sends", [SEND])
    with execute(gallery, durable_instance) as first:
        assert steps(first, dg.DagsterEventType.STEP_FAILURE) == [
            "campaign__dispatch.send_lane[email_sendgrid]"
        ]
        assert "campaign__dispatch.send_lane[sms_twilio]" in steps(first, dg.DagsterEventType.STEP_SUCCESS)
        failure = next(e for e in first.all_events if e.is_step_failure)
    assert "COMMS_SENDGRID_API_KEY" in str(failure.step_failure_data)
    assert len(sandbox.accepted(gallery.message_ids())) == 1

    write_settings(settings)
    # What was refused for its key waits a quarter of an hour; nobody here does.
    gallery.ledger("update batch set due_at = now() where status = 'planned'")
    with execute(gallery, durable_instance, after=first.run_id) as second:
        assert second.success
        assert steps(second, dg.DagsterEventType.STEP_SUCCESS) == [
            "campaign__dispatch.send_lane[email_sendgrid]",
            "campaign__dispatch.settle",
            "campaign__reconciliation",
            "core__message_counts",
            "core__message_facts",
            "core__message_status",
            "core__outcomes",
            "mart__campaign_performance",
            "mart__costs",
            "mart__experiments",
            "mart__send_funnel",
            "report__campaign",
        ]
    assert sorted(a.times for a in sandbox.accepted(gallery.message_ids()).values()) == [1, 1, 1, 1]
    assert gallery.ledger("select status from send") == [("sent",)]
