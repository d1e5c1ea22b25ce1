"""A few kills of sender, Postgres and sandbox in the middle of sends: none lost, none repeated."""

from pathlib import Path

import pytest
from chaos import Kind, attack, failures, installed

pytestmark = pytest.mark.xdist_group("command_line")

SEED, KILLS, MESSAGES = 7, 6, 3_000


def test_kills_at_random_points_lose_nobody_and_repeat_nobody(tmp_path: Path) -> None:
    with installed(tmp_path) as home:
        accounts = attack(
            home, seed=SEED, kills=KILLS, messages=MESSAGES, most_kills=3, kinds=(Kind.LANE, Kind.WORKER)
        )
    told = [account.line for account in failures(accounts)]
    assert told == [], f"CHAOS_SEED={SEED}"
    assert sum(account.kills.total() for account in accounts) >= KILLS
    assert {account.kind for account in accounts} == {Kind.LANE, Kind.WORKER}
    assert all(account.messages == MESSAGES for account in accounts)
