"""Skeletons as one text and back: each slot is a mark no template contains. For whoever must read a whole page."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from comms_pipeline.domain.content import Skeleton

_PRIVATE_USE = range(0xE000, 0xF900)


@dataclass(frozen=True, kw_only=True)
class SlotMarks:
    """Writes slots as a private-use character, the slot's number, and the character again.

    To CSS and HTML alike such a mark is a word, wherever it stands.
    """

    character: str

    @classmethod
    def unused_in(cls, skeletons: Iterable[Skeleton]) -> "SlotMarks":
        """Marks that none of these texts holds already."""
        used = {character for skeleton in skeletons for piece in skeleton if isinstance(piece, str)
                for character in set(piece)}  # fmt: skip
        return cls(character=next(chr(code) for code in _PRIVATE_USE if chr(code) not in used))

    def mark(self, slot: int) -> str:
        """The mark of one slot."""
        return f"{self.character}{slot}{self.character}"

    def text(self, skeleton: Skeleton) -> str:
        """The skeleton with marks for slots."""
        return "".join(piece if isinstance(piece, str) else self.mark(piece) for piece in skeleton)

    def skeleton(self, text: str) -> tuple[str | int, ...]:
        """The inverse of `text`."""
        pieces = re.split(f"{self.character}([0-9]+){self.character}", text)
        numbered = ((int(piece) if place % 2 else piece) for place, piece in enumerate(pieces))
        return tuple(piece for piece in numbered if piece != "")

    def are_in(self, text: str) -> bool:
        """Whether any slot is in the text."""
        return self.character in text
