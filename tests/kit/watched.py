"""An Embedder whose batches are kept, and held back until the test lets them through; and tasks that have begun."""

import asyncio
import threading
from collections.abc import Callable

from ironvec import Embedder

PATIENCE_S = 60


class Watched(Embedder):
    """Keeps the batches that it computes, and holds each back until it is let through."""

    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        self.batches: list[list[str]] = []
        self.begun, self.passes = threading.Semaphore(0), threading.Semaphore(0)
        self.fails: Callable[[list[str]], None] = lambda rows: None

    def _encode_rows(self, rows, progress=None, **checked):
        self.batches.append(list(rows))
        self.begun.release()
        assert self.passes.acquire(timeout=PATIENCE_S)
        self.fails(rows)
        return super()._encode_rows(rows, progress=progress, **checked)

    async def under_way(self) -> None:
        """Until one more batch has begun."""
        assert await asyncio.to_thread(self.begun.acquire, timeout=PATIENCE_S)

    def let_through(self, batches: int = 1000) -> None:
        self.passes.release(batches)


def run(main) -> None:
    asyncio.run(asyncio.wait_for(main, PATIENCE_S))


async def start(*coroutines) -> list[asyncio.Task]:
    """Tasks that have all had their first turn."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    await asyncio.sleep(0)
    return tasks


def words(count: int, word: str = "cat") -> list[str]:
    return [f"{word} sat {number}" for number in range(count)]
