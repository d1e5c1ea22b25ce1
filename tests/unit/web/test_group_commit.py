"""Group commit: who waits for what, and what becomes of a group that cannot be committed."""

import asyncio
from collections.abc import Sequence

import pytest

from comms_pipeline.web.group_commit import GroupCommit


class Store:
    """Commits when it is let, and remembers the groups."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.committed: list[int] = []
        self.may_go_on = asyncio.Event()

    async def commit(self, group: Sequence[int]) -> None:
        self.groups.append(list(group))
        await self.may_go_on.wait()
        if 13 in group:
            raise RuntimeError("not taken")
        self.committed += group


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_what_comes_during_a_commit_is_the_next_group():
    async def run() -> None:
        store = Store()
        group = GroupCommit(store.commit)
        adding = [asyncio.create_task(group.add(1))]
        await _settle()
        adding += [asyncio.create_task(group.add(number)) for number in (2, 3, 4)]
        await _settle()
        assert store.groups == [[1]]
        assert not any(task.done() for task in adding)
        store.may_go_on.set()
        await asyncio.gather(*adding)
        assert store.groups == [[1], [2, 3, 4]]

    asyncio.run(run())


def test_a_group_has_its_most_items():
    async def run() -> None:
        store = Store()
        store.may_go_on.set()
        group = GroupCommit(store.commit, most=2)
        await asyncio.gather(*(group.add(number) for number in range(5)))
        assert [len(each) for each in store.groups] == [2, 2, 1]
        assert store.committed == [0, 1, 2, 3, 4]

    asyncio.run(run())


def test_gathering_waits_for_company():
    async def run() -> None:
        store = Store()
        store.may_go_on.set()
        group = GroupCommit(store.commit, gather_seconds=0.2)
        first = asyncio.create_task(group.add(1))
        await _settle()
        await asyncio.gather(first, group.add(2))
        assert store.groups == [[1, 2]]

    asyncio.run(run())


def test_a_commit_that_fails_fails_its_whole_group_and_no_other():
    async def run() -> None:
        store = Store()
        group = GroupCommit(store.commit)
        adding = [asyncio.create_task(group.add(12))]
        await _settle()
        adding += [asyncio.create_task(group.add(number)) for number in (13, 14)]
        await _settle()
        store.may_go_on.set()
        found = await asyncio.gather(*adding, return_exceptions=True)
        assert found[0] is None
        assert [str(error) for error in found[1:]] == ["not taken", "not taken"]
        await group.add(15)
        assert store.committed == [12, 15]

    asyncio.run(run())


def test_who_gives_up_waiting_takes_nothing_back():
    async def run() -> None:
        store = Store()
        group = GroupCommit(store.commit)
        adding = asyncio.create_task(group.add(1))
        await _settle()
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding
        store.may_go_on.set()
        await group.close()
        assert store.committed == [1]

    asyncio.run(run())
