"""What people have said to us, for slices of an audience: asked for by slice, or once where few said anything.

To ask for a hundred thousand subjects costs the same however few of them ever spoke.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TypeVar

import psycopg

from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import consents, preferences
from comms_pipeline.ledger.consents import Consent
from comms_pipeline.ledger.preferences import PersonalLimits, Wish

T = TypeVar("T")
FEW = 200_000
"""So many rows are kept in memory for a whole audience."""


class Said:
    """The words of the contacts of one organisation on one type of message, by subject (16 bytes)."""

    def __init__(self, ledger: psycopg.Connection, organisation_id: str, topic: str) -> None:
        self._ledger = ledger
        self._organisation_id = organisation_id
        self._topic = topic
        self._kept: dict[str, Mapping[bytes, object]] = {}

    def wishes(self, channel: Channel, subjects: Sequence[bytes]) -> Mapping[bytes, Wish]:
        """Whether they want it on a channel."""
        return self._once(
            f"wishes {channel}" if self._are_wishes_few else None,
            subjects,
            lambda asked: preferences.stated(
                self._ledger,
                organisation_id=self._organisation_id,
                channel=channel,
                topic=self._topic,
                subjects=asked,
            ),
        )

    def limits(self, subjects: Sequence[bytes]) -> Mapping[bytes, PersonalLimits]:
        """What they ask of us beyond yes and no."""
        return self._once(
            "limits" if self._are_wishes_few else None,
            subjects,
            lambda asked: preferences.limits_of(self._ledger, self._organisation_id, asked),
        )

    def consents(self, channel: Channel, subjects: Sequence[bytes]) -> Mapping[bytes, Consent]:
        """What they agreed to last."""
        return self._once(
            f"consents {channel}" if self._are_consents_few else None,
            subjects,
            lambda asked: consents.latest(
                self._ledger,
                organisation_id=self._organisation_id,
                channel=channel,
                purpose=self._topic,
                subjects=asked,
            ),
        )

    @cached_property
    def _are_wishes_few(self) -> bool:
        return preferences.are_few(self._ledger, self._organisation_id, FEW)

    @cached_property
    def _are_consents_few(self) -> bool:
        return consents.are_few(self._ledger, self._organisation_id, FEW)

    def _once(
        self,
        kept_as: str | None,
        subjects: Sequence[bytes],
        ask: Callable[[Sequence[bytes] | None], Mapping[bytes, T]],
    ) -> Mapping[bytes, T]:
        """Ask for `subjects`; or, to be kept under a name, for everybody."""
        if kept_as is None:
            return ask(subjects)
        if kept_as not in self._kept:
            self._kept[kept_as] = ask(None)
        return self._kept[kept_as]  # type: ignore[return-value]
