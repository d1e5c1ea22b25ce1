"""Some thousand events through the worst of networks: the tables hold what happened, and nothing else."""

from pathlib import Path

import pytest
from hostile import Victim, installed, tell

pytestmark = pytest.mark.xdist_group("command_line")

SEED, EVENTS, KILLS = 11, 20_000, 6


def test_events_told_again_and_again_through_kills_are_in_the_lake_once(tmp_path: Path) -> None:
    with installed(tmp_path) as home:
        account = tell(home, seed=SEED, events=EVENTS, kills=KILLS)
    assert account.faults == [], f"HOSTILE_SEED={SEED}"
    assert account.events >= EVENTS
    assert account.tellings > 1.5 * account.events
    assert account.kills.total() == KILLS
    assert account.kills.keys() == set(Victim)
