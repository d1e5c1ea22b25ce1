"""Which saved segments a definition means, directly and through others. Loads none."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from comms_pipeline.domain.behaviour import SegmentReference
from comms_pipeline.domain.errors import InvalidSegment
from comms_pipeline.domain.segment import AllOf, AnyOf, Audience, Not
from comms_pipeline.domain.validation import close_match

# What a definition comes to with every segment written out: segments of segments double quickly.
_MAX_REFERENCES = 1_000


@dataclass(frozen=True, kw_only=True)
class SavedSegment:
    """One version of a segment that people saved under a name."""

    name: str
    version: int
    definition: Audience


def parts_of(definition: Audience) -> Iterator[Audience]:
    """The definition and every condition in it, in its order. Saved segments are not entered."""
    yield definition
    match definition:
        case AllOf():
            for each in definition.all:
                yield from parts_of(each)
        case AnyOf():
            for each in definition.any:
                yield from parts_of(each)
        case Not():
            yield from parts_of(definition.condition)


def references_of(definition: Audience) -> list[str]:
    """Names of the segments that a definition names itself; those named twice are there twice."""
    return [part.segment for part in parts_of(definition) if isinstance(part, SegmentReference)]


def segments_used(definition: Audience, saved: Mapping[str, SavedSegment]) -> list[SavedSegment]:
    """Every saved segment that a definition means, also through others, by name.

    Raises `InvalidSegment` for one that is not saved, for one that comes back to itself, and for what would be
    too long when written out.
    """
    sizes: dict[str, int] = {}

    def size(name: str, above: tuple[str, ...]) -> int:
        if name in above:
            circle = " → ".join((*above[above.index(name) :], name))
            raise InvalidSegment(f"segment {name}", f"it comes back to itself: {circle}", "Break the circle")
        if name not in saved:
            close = close_match(name, saved)
            fix = f"Did you mean '{close}'?" if close else "Apply it with `comms segments apply`"
            raise InvalidSegment(f"segment {name}", "it is not saved for this organisation", fix)
        if name not in sizes:
            inner = references_of(saved[name].definition)
            sizes[name] = 1 + sum(size(each, (*above, name)) for each in inner)
        return sizes[name]

    if sum(size(name, ()) for name in references_of(definition)) > _MAX_REFERENCES:
        raise InvalidSegment(
            "audience", f"it names more than {_MAX_REFERENCES} segments when written out", "Name fewer"
        )
    return [saved[name] for name in sorted(sizes)]
