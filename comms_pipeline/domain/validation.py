"""Validating what people write: strict models, and pydantic's errors turned into problem and fix.

Knows no file and no line; `yaml_marks` knows where in a file a path is.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

Path = tuple[str | int, ...]
KnownKeys = Mapping[str, Collection[str]]

_FAULT = "fault"
_QUOTED = re.compile(r"'([^']+)'")
_FORBIDDEN_IN_HEADERS = re.compile(r"[\r\n\x00]")


class Strict(BaseModel):
    """Base of everything people write by hand: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing wrong at `path` (keys and list positions; union tags may be among them)."""

    path: Path
    problem: str
    fix: str


def fault(problem: str, fix: str) -> PydanticCustomError:
    """An error for a validator to raise; `faults` gives back both texts unchanged."""
    return PydanticCustomError(_FAULT, "{problem}. {fix}", {"problem": problem, "fix": fix})


def close_match(word: str, known: Iterable[str]) -> str | None:
    """The known word most like an unknown one, if any is."""
    return next(iter(difflib.get_close_matches(word, sorted(set(known)), n=1)), None)


def nearest(word: str, known: Iterable[str]) -> str:
    """A fix for an unknown word: the nearest known one, else all of them."""
    choices = sorted(set(known))
    close = close_match(word, choices)
    return f"Did you mean '{close}'?" if close else f"Use one of: {', '.join(choices)}"


def single_line(value: str) -> str:
    """For use as an `AfterValidator`: text that may go into a header."""
    if _FORBIDDEN_IN_HEADERS.search(value):
        raise fault("it contains a line break", "Write it on one line")
    return value


def keys_of(model: type[BaseModel]) -> frozenset[str]:
    """The keys a model takes, as people write them."""
    return frozenset(field.alias or name for name, field in model.model_fields.items())


def faults(error: ValidationError, known_keys: KnownKeys) -> list[Fault]:
    """Every fault of a validation error; unknown keys first, for they often explain a missing one.

    `known_keys` holds the keys allowed under a key (or union tag) of the input, "" being the outermost.
    """
    found = sorted(error.errors(include_url=False), key=lambda details: details["type"] != "extra_forbidden")
    return [_translated(details, known_keys) for details in found]


def _translated(details: ErrorDetails, known_keys: KnownKeys) -> Fault:
    path: Path = details["loc"]
    words = [part for part in path if isinstance(part, str)] or ["the file"]
    # Union tags are class names; people know only the keys.
    key = next((word for word in reversed(words) if not word[:1].isupper()), words[-1])
    context: Mapping[str, Any] = details.get("ctx") or {}
    given = details.get("input")
    match details["type"]:
        case "fault":
            problem, fix = context["problem"], context["fix"]
        case "missing":
            problem, fix = f"'{key}' is missing", f"Add '{key}:'"
        case "extra_forbidden":
            allowed = next(
                (known_keys[word] for word in reversed(words[:-1]) if word in known_keys), known_keys[""]
            )
            problem, fix = f"unknown key '{words[-1]}'", nearest(words[-1], allowed)
        case "enum" | "literal_error":
            choices = _QUOTED.findall(context["expected"]) or [str(context["expected"]).lower()]
            problem, fix = f"'{given}' is not a value of '{key}'", nearest(str(given), choices)
        case "model_type" | "model_attributes_type" | "dict_type":
            problem, fix = f"'{key}' must hold keys and values", "Write 'key: value' lines under it"
        case "tuple_type":
            problem, fix = f"'{key}' must be a list", "Write [one, two] or lines that start with '-'"
        case _:
            message = details["msg"].removeprefix("Value error, ").removeprefix("Input ")
            problem, fix = f"'{key}' {message[:1].lower()}{message[1:]}", "Correct the value"
    return Fault(path=path, problem=problem, fix=fix)
