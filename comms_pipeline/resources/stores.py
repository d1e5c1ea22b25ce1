"""Hands the stores to assets and ops. Opening them is `comms_pipeline.stores`' work."""

import dagster as dg

from comms_pipeline.settings import Settings
from comms_pipeline.stores import Stores

StoresResource = dg.ResourceParam[Stores]
"""Annotate a parameter named `stores` with this."""


def build_resources(settings: Settings) -> dict[str, object]:
    """The resources by name. Opens nothing."""
    return {"stores": Stores(settings)}
