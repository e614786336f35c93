"""Texts of concurrent callers gathered into batches: what `Embedder.aencode` waits for.

In: calls from coroutines of any event loops and threads, each with its rows and the work that its options ask for.
Out: each caller's own rows, in an array of its own. One thread does the work, and ends with the last batch.

- **No timer.** An idle model starts at the end of the loop's turn that brought the first text, so that what comes in
  one turn (`asyncio.gather`) goes together; a busy one takes next what has come meanwhile. A timer would have a lone
  caller wait for nobody, and gathers no more under load, where the batch under way is the wait.
- **A batch** has at most `MOST_ROWS` rows, all with the same options. Options take turns, and a call with more rows
  than that goes to the end of its queue after each batch: nobody waits for the whole of another's list.
- **Room:** at most `MOST_WAITING` texts (and the rest of the call that reached it) stand in these queues. Later calls
  wait outside, in the order in which they came, whatever their options.
- **Errors:** a `TypeError` or `ValueError` is about a text, so the calls of that batch run again, each alone, and only
  the one at fault fails. Any other reaches every caller of the batch.
- **Who no longer waits** (cancelled, or its loop closed) has its rows dropped before they start; a batch under way is
  computed, a call that is computed whole ends with the run under way.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import asyncio

    from numpy.typing import NDArray

# Rows of a batch at most: 64 short texts are about the 1,024 tokens that a run takes (src/batches/plan.rs).
MOST_ROWS = 64
MOST_WAITING = 4096

# A list of texts, and `progress=`, a function that is told how many rows are done and may raise to end the work.
Work = Callable[..., "NDArray[Any]"]


class NobodyWaits(Exception):
    """Ends the work for a caller who has gone, and so does not see it."""


class Call:
    """One caller's rows, in the queue or under way."""

    __slots__ = ("_result", "_rows_done", "_rows_taken", "failed", "future", "key", "loop", "progress", "rows", "work")

    def __init__(
        self,
        rows: list[str],
        work: Work,
        key: Hashable | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        """Calls of one `key` go together, and in parts; one without runs alone and whole, and is told its progress."""
        import asyncio  # here, since it is there wherever a coroutine runs, and dear where none does

        self.rows, self.work, self.key, self.progress = rows, work, key, progress
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[NDArray[Any]] = self.loop.create_future()
        self.failed = False
        self._rows_taken = self._rows_done = 0
        self._result: NDArray[Any] | None = None

    @property
    def rows_left(self) -> int:
        return len(self.rows) - self._rows_taken

    def gone(self) -> bool:
        """Nobody waits for it any more. Asked from another thread than the loop's, which may know a moment sooner."""
        return self.failed or self.future.cancelled() or self.loop.is_closed()

    def heed(self, rows_done: int) -> None:
        """Told between runs of a call that is computed whole: a batch of others is short."""
        if self.gone():
            raise NobodyWaits
        if self.progress is not None:
            self.progress(rows_done)

    def take(self, most: int) -> Part:
        start = self._rows_taken
        self._rows_taken = len(self.rows) if self.key is None else min(len(self.rows), start + most)
        return Part(self, start, self.rows[start : self._rows_taken])

    def put(self, start: int, vectors: NDArray[Any]) -> NDArray[Any] | None:
        """Keeps the vectors of the rows from `start` on; the result once it is whole."""
        if len(vectors) == len(self.rows):
            # A copy: the batch would live as long as any caller keeps a row of it.
            return vectors if self.key is None else vectors.copy()
        if self._result is None:
            self._result = np.empty((len(self.rows), *vectors.shape[1:]), vectors.dtype)
        self._result[start : start + len(vectors)] = vectors
        self._rows_done += len(vectors)
        return self._result if self._rows_done == len(self.rows) else None


class Part(NamedTuple):
    """The rows of a call that are in one batch."""

    call: Call
    start: int
    rows: list[str]

    def explain(self, error: BaseException) -> BaseException:
        """An error about a text counts from the first of the rows: here it says which text of the call that was."""
        if self.start == 0 or not isinstance(error, (TypeError, ValueError)):
            return error
        kind = TypeError if isinstance(error, TypeError) else ValueError
        return kind(f"counted from text {self.start}: {error}")


class Gatherer:
    """The queues of one model in one process. Any thread may use it; a forked child needs its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # By key, the one whose turn is next first.
        self._queues: dict[Hashable, deque[Call]] = {}
        self._outside: deque[Call] = deque()
        self._waiting = 0
        self._working = False

    async def vectors(self, call: Call) -> NDArray[Any]:
        """The vectors of a call's rows, once it had its turn."""
        with self._lock:
            self._outside.append(call)
            self._admit()
            idle = not self._working
        if idle:
            call.loop.call_soon(self._start)
        return await call.future

    def _admit(self) -> None:
        while self._outside and self._waiting < MOST_WAITING:
            call = self._outside.popleft()
            self._queues.setdefault(call if call.key is None else call.key, deque()).append(call)
            self._waiting += call.rows_left

    def _start(self) -> None:
        with self._lock:
            if self._working or not self._queues:
                return
            self._working = True
        try:
            # A daemon, so that the end of the process waits for no more than a run (src/ending.rs).
            threading.Thread(target=self._work, name="ironvec-aencode", daemon=True).start()
        except BaseException as error:
            self._fail_all(error)

    def _work(self) -> None:
        try:
            while batch := self._next_batch():
                _run(batch)
        except BaseException as error:
            self._fail_all(error)

    def _next_batch(self) -> list[Part]:
        """Rows of one key; none, and nobody at work, where nothing waits."""
        with self._lock:
            self._admit()
            while self._queues:
                key = next(iter(self._queues))
                queue = self._queues[key] = self._queues.pop(key)  # behind the others from now on
                batch = list(self._parts(queue))
                if not queue:
                    del self._queues[key]
                self._admit()
                if batch:
                    return batch
            self._working = False
            return []

    def _parts(self, queue: deque[Call]) -> Iterator[Part]:
        room, unfinished = MOST_ROWS, []
        while queue and room > 0:
            call = queue.popleft()
            self._waiting -= call.rows_left
            if call.gone():
                continue
            part = call.take(room)
            room -= len(part.rows)
            if call.rows_left:
                self._waiting += call.rows_left
                unfinished.append(call)
            yield part
        queue.extend(unfinished)

    def _fail_all(self, error: BaseException) -> None:
        """Without a thread there is no result: better an error than callers who wait for ever."""
        with self._lock:
            calls = [call for queue in (*self._queues.values(), self._outside) for call in queue]
            self._queues.clear()
            self._outside.clear()
            self._waiting, self._working = 0, False
        _tell([(call, error) for call in calls])


def _run(batch: list[Part]) -> None:
    """Computes a batch and tells its callers. What fails is theirs to see; nothing is raised."""
    outcomes: list[tuple[Call, NDArray[Any] | BaseException]] = []
    try:
        call = batch[0].call
        heeding = {} if call.key is not None else {"progress": call.heed}
        vectors = call.work([row for part in batch for row in part.rows], **heeding)
        end = 0
        for part in batch:
            start, end = end, end + len(part.rows)
            if (result := part.call.put(part.start, vectors[start:end])) is not None:
                outcomes.append((part.call, result))
    except BaseException as error:
        if isinstance(error, (TypeError, ValueError)) and len(batch) > 1:
            for part in batch:
                _run([part])
            return
        for part in batch:
            part.call.failed = True
        outcomes = [(part.call, part.explain(error)) for part in batch]
    _tell(outcomes)


def _tell(outcomes: list[tuple[Call, NDArray[Any] | BaseException]]) -> None:
    """Hands results and errors to the loops that wait for them, each woken once."""
    by_loop = defaultdict(list)
    for call, outcome in outcomes:
        by_loop[call.loop].append((call.future, outcome))
    for loop, settled in by_loop.items():
        # A loop that is closed has nobody who waits.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, settled)


def _settle(settled: list[tuple[asyncio.Future[NDArray[Any]], NDArray[Any] | BaseException]]) -> None:
    for future, outcome in settled:
        if future.done():
            continue
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
