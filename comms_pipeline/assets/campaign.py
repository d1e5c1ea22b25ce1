"""The plan of a send: audience, eligibility, messages. Thin: the stages live in `planning`. Nothing is sent here."""

import dagster as dg
import polars as pl

from comms_pipeline import vocabulary
from comms_pipeline.metadata import bars, bullets, counts_table, plan_metadata, story
from comms_pipeline.partitions import SENDS
from comms_pipeline.planning import stages
from comms_pipeline.resources.stores import StoresResource


@dg.asset(
    key=vocabulary.AUDIENCE,
    # It reads engagement too, as of now; drawn as a dependency, yesterday's send would depend on tomorrow's.
    deps=[vocabulary.CONTACTS, vocabulary.LEDGER_SENDS],
    partitions_def=SENDS,
    group_name=vocabulary.SENDING_GROUP,
    owners=vocabulary.MARKETING,
    kinds=vocabulary.LAKE_KINDS,
    description="Whom the campaign means: every contact its audience definition selects, before any rule.",
)
def audience(context: dg.AssetExecutionContext, stores: StoresResource) -> dg.MaterializeResult:
    """Select the audience of the partition's send."""
    send = stages.context_of(stores, context.partition_key)
    with stages.failing(stores, send.send.send_id):
        count = stages.write_audience(stores, send)
    organisation_id = send.organisation.organisation_id
    # However the run was started, it is found by these.
    context.instance.add_run_tags(context.run_id, {"campaign": send.spec.id, "organisation": organisation_id})
    return dg.MaterializeResult(
        metadata={
            **story(context.partition_key),
            "dagster/partition_row_count": count,
            "audience": count,
            "campaign": send.spec.id,
            "campaign_version": send.send.version,
            "organisation": organisation_id,
            "channels": ", ".join(send.spec.channels),
            "due_at": dg.MetadataValue.timestamp(send.send.due_at),
        }
    )


@dg.asset(
    key=vocabulary.ELIGIBILITY,
    deps=[vocabulary.AUDIENCE, vocabulary.LEDGER_SUPPRESSIONS],
    partitions_def=SENDS,
    group_name=vocabulary.SENDING_GROUP,
    owners=vocabulary.OPERATIONS,
    kinds=vocabulary.LAKE_KINDS,
    description="Who may be reached, and when: one decision per contact and channel, with every rule that spoke "
    "against it, its version and its evidence. A campaign that breaks a blocking rule stops here.",
)
def eligibility(context: dg.AssetExecutionContext, stores: StoresResource) -> dg.MaterializeResult:
    """Check the campaign, then run all rules over the whole audience."""
    send = stages.context_of(stores, context.partition_key)
    with stages.failing(stores, send.send.send_id):
        check = stages.require_clean(stores, send)
        decisions = stages.write_decisions(stores, send)
    with stores.lake.reader() as cursor:
        exclusions = stages.exclusions(cursor, send.send.send_id)
    by_reason = exclusions.group_by("evidence_kind").agg(pl.col("contacts").sum())
    largest_first = by_reason.sort("contacts", "evidence_kind", descending=[True, False])
    return dg.MaterializeResult(
        metadata={
            **story(context.partition_key),
            "exclusions_chart": bars(dict(largest_first.iter_rows()), "Contacts excluded by reason"),
            "dagster/partition_row_count": int(decisions["contacts"].sum()),
            "decisions": counts_table(decisions),
            "compliance_score": check.score,
            "compliance_findings": bullets(
                f"{item.rule.id}: {item.found}. {item.rule.fix}" for item in check.failed
            ),
            "exclusions_by_rule": counts_table(exclusions),
        }
    )


@dg.asset(
    key=vocabulary.MESSAGES,
    deps=[vocabulary.ELIGIBILITY],
    partitions_def=SENDS,
    group_name=vocabulary.SENDING_GROUP,
    owners=vocabulary.MARKETING,
    kinds=vocabulary.LAKE_KINDS,
    check_specs=[
        dg.AssetCheckSpec(
            "counts_sum",
            asset=vocabulary.MESSAGES,
            blocking=True,
            description="audience = messages + excluded: nobody is lost, nobody is counted twice.",
        ),
        dg.AssetCheckSpec(
            "message_ids_unique",
            asset=vocabulary.MESSAGES,
            blocking=True,
            description="No message is in the plan twice.",
        ),
    ],
    description="The plan: who gets what, when, through what. Ids only; planning again only adds whom it lacks.",
)
def messages(context: dg.AssetExecutionContext, stores: StoresResource) -> dg.MaterializeResult:
    """Plan the messages; a template that cannot be rendered for everybody fails here, before anything is sent."""
    send = stages.context_of(stores, context.partition_key)
    with stages.failing(stores, send.send.send_id):
        planned = stages.write_messages(stores, send)
    with stores.lake.reader() as cursor:
        funnel = stages.funnel(cursor, send.send.send_id)
    is_unique = funnel.messages == funnel.distinct_messages
    return dg.MaterializeResult(
        metadata={
            **story(context.partition_key),
            **plan_metadata(funnel),
            "dagster/partition_row_count": funnel.messages,
            "messages_added": planned.messages,
            "added_by_channel": counts_table(planned.by_channel),
            "missing_values": counts_table(planned.missing),
            "warnings": bullets(planned.warnings),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="counts_sum",
                passed=funnel.is_planned_whole,
                metadata={
                    "audience": funnel.audience,
                    "messages": funnel.messages,
                    "excluded": funnel.excluded,
                },
            ),
            dg.AssetCheckResult(
                check_name="message_ids_unique",
                passed=is_unique,
                metadata={"duplicates": funnel.messages - funnel.distinct_messages},
            ),
        ],
    )
