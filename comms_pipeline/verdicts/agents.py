"""Which user agents match a list of patterns. The maintained list of crawlers is `crawlers.txt` beside this file.

To the engine here 1,500 expressions are one, and user agents repeat: only distinct ones are matched.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import polars as pl

_CRAWLERS = Path(__file__).parent / "crawlers.txt"


@cache
def crawler_patterns() -> tuple[str, ...]:
    """The patterns of `crawlers.txt`, in its order."""
    lines = _CRAWLERS.read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("# ") and line != "#")


def matching(agents: pl.Series, patterns: Sequence[str], exceptions: Sequence[str] = ()) -> pl.Series:
    """Whether each agent (String, null = unknown: never) matches one of the patterns and none of the exceptions."""
    agent = pl.col("agent")
    is_match = agent.str.contains(_any_of(patterns))
    if exceptions:
        is_match &= ~agent.str.contains(_any_of(exceptions))
    distinct = agents.alias("agent").to_frame().drop_nulls().unique().filter(is_match)["agent"]
    return agents.is_in(distinct.implode()).fill_null(False)


def _any_of(patterns: Sequence[str]) -> str:
    return "|".join(f"(?:{pattern})" for pattern in patterns)
