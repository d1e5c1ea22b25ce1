"""A limit on how often one person may be written to. Counting is the ledger's work."""

from dataclasses import dataclass

from comms_pipeline.domain.message import EVERY_TOPIC, Channel


@dataclass(frozen=True, kw_only=True)
class Cap:
    """At most so many `messages` of a topic ("*": of any) on a channel within any `hours` in a row."""

    channel: Channel
    topic: str = EVERY_TOPIC
    messages: int
    hours: int
