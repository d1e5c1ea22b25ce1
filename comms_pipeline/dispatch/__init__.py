"""The sending engine: claim, check, mark, call, record, reconcile. Knows no Dagster."""
