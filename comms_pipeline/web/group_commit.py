"""Group commit: what many requests bring at the same time is committed once. Knows no database and no route."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")


class GroupCommit(Generic[Item]):
    """Hands items of many coroutines to one `commit`, in the order they came; each waits for its own group's commit.

    `commit` takes a group, not empty and of at most `most` items, and has made it durable when it returns. One runs
    at a time, and whatever comes meanwhile is the next group: alone an item never waits for company, and under load
    groups grow by themselves. `gather_seconds` waits for more before each commit: worth it only where commits are
    dearer than that. A `commit` that blocks belongs into a thread (`starlette.concurrency.run_in_threadpool`). What it
    raises, every item of the group raises. Use within one running event loop.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Item]], Awaitable[None]],
        *,
        most: int = 1_000,
        gather_seconds: float = 0.0,
    ) -> None:
        self._commit = commit
        self._most = most
        self._gather_seconds = gather_seconds
        self._waiting: deque[tuple[Item, asyncio.Future[None]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def add(self, item: Item) -> None:
        """Returns once the item is committed; raises what its group's commit raised.

        Who gives up waiting takes nothing back: the item is committed all the same.
        """
        is_committed = asyncio.get_running_loop().create_future()
        self._waiting.append((item, is_committed))
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        await is_committed

    async def close(self) -> None:
        """Waits until all that was added is committed."""
        while self._task is not None:
            await asyncio.wait({self._task})

    async def _work(self) -> None:
        try:
            while self._waiting:
                if self._gather_seconds and len(self._waiting) < self._most:
                    await asyncio.sleep(self._gather_seconds)
                size = min(len(self._waiting), self._most)
                await self._commit_group([self._waiting.popleft() for _ in range(size)])
        finally:
            self._task = None

    async def _commit_group(self, group: Sequence[tuple[Item, asyncio.Future[None]]]) -> None:
        error: Exception | None = None
        try:
            await self._commit([item for item, _ in group])
        except Exception as raised:
            error = raised
        for _, is_committed in group:
            if is_committed.done():
                continue  # Its request was given up.
            if error is None:
                is_committed.set_result(None)
            else:
                is_committed.set_exception(error)
