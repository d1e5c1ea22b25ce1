"""What computes the models that are made in Python: one literal table. How, is each module's own."""

from collections.abc import Callable
from importlib import import_module

import polars as pl

from comms_pipeline.models.header import InvalidModel, Model
from comms_pipeline.stores import Stores

Compute = Callable[[Stores], pl.DataFrame]
"""Gives all rows of a model, with the columns of its header. Reads what it likes and writes nothing."""

_COMPUTED: dict[str, tuple[str, str]] = {
    "mart.experiments": ("comms_pipeline.loader.experiments", "experiments"),
    "mart.queue_health": ("comms_pipeline.loader.queue_health", "queue_health"),
}
"""Module and function by table. By name: what they need is heavy, and a run needs one of them."""


def computed(model: Model) -> Compute:
    """What computes `model`. Raises `InvalidModel` when nothing does."""
    place = _COMPUTED.get(model.table)
    if place is None:
        raise InvalidModel(
            model.file, "nothing computes it", "Name its function in comms_pipeline/loader/computed.py"
        )
    found: Compute = getattr(import_module(place[0]), place[1])
    return found
