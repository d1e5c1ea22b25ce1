"""Ready questions: the files of `warehouse/queries`. Each begins with its question; notes and SQL follow."""

import re
from dataclasses import dataclass

from comms_pipeline.domain.errors import NotFound
from comms_pipeline.domain.validation import nearest
from comms_pipeline.sqlfiles import warehouse_root

_PARAMETER = re.compile(r"\$([a-z_]+)")


@dataclass(frozen=True, kw_only=True)
class Question:
    """One ready question: what it asks in words and in SQL, and what has to be given."""

    name: str
    title: str
    sql: str
    parameters: tuple[str, ...]


def questions() -> list[Question]:
    """All of them, by name."""
    found = []
    for path in sorted((warehouse_root() / "queries").glob("*.sql")):
        text = path.read_text(encoding="utf-8")
        parameters = tuple(sorted(set(_PARAMETER.findall(text))))
        title = text.partition("\n")[0].removeprefix("--").strip()
        found.append(Question(name=path.stem, title=title, sql=text, parameters=parameters))
    return found


def question_named(name: str) -> Question:
    """The question of that name. Raises `NotFound`."""
    by_name = {question.name: question for question in questions()}
    if name not in by_name:
        raise NotFound(f"question {name[:60]}", "there is no such question", nearest(name, by_name))
    return by_name[name]
