"""What can come of one HTTP request, as sending needs to tell it. Values only: no sockets, no provider."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


class Headers(Mapping[str, str]):
    """Header fields as they came, found whatever the case of their names; a repeated one joined by commas."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Sequence[tuple[bytes, bytes]]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        # Few answers are asked for any header: looking through them is cheaper than an index of every one.
        wanted = name.lower().encode("latin-1", "replace")
        values = [value for field, value in self._fields if field.lower() == wanted]
        if not values:
            raise KeyError(name)
        return b", ".join(values).decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(field.lower().decode("latin-1") for field, _ in self._fields))

    def __len__(self) -> int:
        return len({field.lower() for field, _ in self._fields})


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The provider answered, to the last byte. `headers` are found in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class NotSent:
    """No connection came about: not a byte of the request left."""

    error: str


@dataclass(frozen=True, kw_only=True)
class NoAnswer:
    """Bytes left and nothing conclusive came back: nobody here can know what the provider did."""

    error: str


Reply = Answer | NotSent | NoAnswer
