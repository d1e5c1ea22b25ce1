"""The ledger's tables that assets depend on, as external assets: Dagster shows them, others write them."""

import dagster as dg

from comms_pipeline import vocabulary

LEDGER_ASSETS = [
    dg.AssetSpec(
        key,
        group_name=vocabulary.LEDGER_GROUP,
        owners=vocabulary.OPERATIONS,
        kinds=vocabulary.LEDGER_KINDS,
        description=description,
    )
    for key, description in (
        (vocabulary.LEDGER_SENDS, "Sends with their state; Postgres decides what may be sent."),
        (vocabulary.LEDGER_SUPPRESSIONS, "Whom we must not reach, by keyed hash; effective at once."),
        (vocabulary.LEDGER_LANDING, "Webhooks as they came, verified, before anything is parsed."),
    )
]
