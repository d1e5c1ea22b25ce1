"""Who sends, as `organisation.yaml` says it. Reads no file, stores nothing."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from comms_pipeline.domain.cap import Cap
from comms_pipeline.domain.fields import SingleLine, Slug
from comms_pipeline.domain.message import EVERY_TOPIC, GENERAL_TOPIC, Channel
from comms_pipeline.domain.tiers import Tier
from comms_pipeline.domain.validation import KnownKeys, Strict, fault, keys_of, nearest


class ContactCap(Strict):
    """No more than so many messages to one contact within so many days in a row, whichever campaigns they are of."""

    channel: Channel
    messages: Annotated[int, Field(ge=1, le=10_000)]
    days: Annotated[int, Field(ge=1, le=31)]
    topic: Literal["*"] | Slug = EVERY_TOPIC
    """One type of message, or "*" for all together."""

    @property
    def cap(self) -> Cap:
        """The same in hours."""
        return Cap(channel=self.channel, topic=self.topic, messages=self.messages, hours=self.days * 24)


class Organisation(Strict):
    """Whose contacts and campaigns these are. Field order matters: caps name topics."""

    id: Slug
    name: SingleLine
    postal_address: str = ""
    topics: Mapping[Slug, SingleLine] = {}
    """Types of messages people may choose between, each with the name they see."""
    caps: tuple[ContactCap, ...] = ()
    tier: Tier = Tier.UNLIMITED

    @field_validator("topics")
    @classmethod
    def _not_too_many(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        # All of them stand on one page, for each channel.
        if len(value) > 50:
            raise fault(f"there are {len(value)} topics", "Keep to 50; people must choose between them")
        return value

    @field_validator("caps")
    @classmethod
    def _of_known_topics(cls, value: tuple[ContactCap, ...], info: ValidationInfo) -> tuple[ContactCap, ...]:
        known = {EVERY_TOPIC, GENERAL_TOPIC, *info.data.get("topics", {})}
        seen = set()
        for cap in value:
            if cap.topic not in known and "topics" in info.data:
                raise fault(f"a cap names the unknown topic '{cap.topic}'", nearest(cap.topic, known))
            if (key := (cap.channel, cap.topic, cap.days)) in seen:
                raise fault(
                    f"there are two caps for {cap.channel}, topic '{cap.topic}', {cap.days} days", "Keep one"
                )
            seen.add(key)
        return value

    def rules(self) -> dict[str, Any]:
        """What is neither name nor address, as plain JSON values: topics, caps, tier."""
        return self.model_dump(mode="json", include={"topics", "caps", "tier"})


ORGANISATION_KEYS: KnownKeys = {"": keys_of(Organisation), "caps": keys_of(ContactCap)}
"""For `validation.faults`."""
