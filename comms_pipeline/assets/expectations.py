"""Great Expectations suites for what crosses the borders, and how their results become check results.

Heavy to import: only checks import it, when they run.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from comms_pipeline.domain.event import EventKind

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.expectations import Expectation

# Great Expectations reads this at import; nothing leaves this machine.
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

import great_expectations as gx
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)

CONTACT_SUITE: Sequence["Expectation"] = (
    gx.expectations.ExpectColumnValuesToNotBeNull(column="contact_id"),
    gx.expectations.ExpectColumnValuesToBeUnique(column="contact_id"),
    gx.expectations.ExpectColumnValuesToNotBeNull(column="organisation_id"),
    gx.expectations.ExpectColumnValuesToMatchRegex(column="contact_id", regex=r"^[0-9a-f]{32}$"),
    gx.expectations.ExpectColumnValuesToMatchRegex(column="email", regex=r"^[^@\s]+@[^@\s]+$"),
    gx.expectations.ExpectColumnValuesToMatchRegex(column="phone", regex=r"^\+[1-9][0-9]{6,14}$"),
    gx.expectations.ExpectColumnValuesToMatchRegex(column="country", regex=r"^[A-Z]{2}$"),
    gx.expectations.ExpectColumnValuesToNotBeNull(column="attributes"),
)

EVENT_SUITE: Sequence["Expectation"] = (
    gx.expectations.ExpectColumnValuesToBeUnique(column="event_id"),
    gx.expectations.ExpectColumnValuesToNotBeNull(column="kind"),
    gx.expectations.ExpectColumnValuesToBeInSet(column="kind", value_set=[str(kind) for kind in EventKind]),
    gx.expectations.ExpectColumnValuesToBeInSet(column="verdict", value_set=["human", "machine", "unknown"]),
    # Unmatched events happen (replies, other systems on the same account); many of them mean a broken link.
    gx.expectations.ExpectColumnValuesToNotBeNull(column="message_id", mostly=0.9),
    gx.expectations.ExpectColumnValuesToBeBetween(column="delay_seconds", min_value=-300, mostly=0.99),
)


# The default would leave a temporary folder for documentation behind with every check.
_IN_MEMORY = DataContextConfig(
    store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
    progress_bars=ProgressBarsConfig(globally=False),
)


def validate(name: str, frame: "pd.DataFrame", suite: Sequence["Expectation"]) -> dg.AssetCheckResult:
    """Run a suite over a frame. Metadata names the expectation and the count, never a value."""
    context = gx.get_context(mode="ephemeral", project_config=_IN_MEMORY)
    batch = (
        context.data_sources.add_pandas(name)
        .add_dataframe_asset(name)
        .add_batch_definition_whole_dataframe(name)
    )
    result = batch.get_batch(batch_parameters={"dataframe": frame}).validate(
        gx.ExpectationSuite(name=name, expectations=list(suite)), result_format="BASIC"
    )
    records = [
        dg.TableRecord(
            {
                "expectation": each.expectation_config.type,
                "column": str(each.expectation_config.kwargs.get("column")),
                "passed": bool(each.success),
                "unexpected": int(each.result.get("unexpected_count") or 0),
            }
        )
        for each in result.results
    ]
    return dg.AssetCheckResult(
        passed=bool(result.success),
        metadata={"rows": len(frame), "expectations": dg.MetadataValue.table(records)},
    )
