"""Reading before and writing behind the encoding, each in a thread: the model never waits for the disk.

An error of a thread is raised where its work is asked for. Waiting looks up now and then, so that Ctrl-C is heard.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any, Generic, TypeVar

from .partial import Done, Partial

_T = TypeVar("_T")
_GLANCE_S = 0.1
# At most so much of the writing thread's time goes into committing, however fast the model is.
_SHARE = 0.2


class _End:
    """After the last item; with the error that ended it early."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _Line(Generic[_T]):
    """A queue that both ends leave when one of them stops."""

    def __init__(self, room: int) -> None:
        self._queue: Queue[Any] = Queue(room)
        self.stopped = Event()

    def put(self, item: _T | _End) -> bool:
        while not self.stopped.is_set():
            try:
                self._queue.put(item, timeout=_GLANCE_S)
                return True
            except Full:
                continue
        return False

    def get(self) -> Any:
        while not self.stopped.is_set():
            try:
                return self._queue.get(timeout=_GLANCE_S)
            except Empty:
                continue
        return _End()


@contextmanager
def read_ahead(items: Iterator[_T]) -> Iterator[Iterator[_T]]:
    """The same items, the next of which is made in a thread. A thread that hangs in a read is left behind."""
    line: _Line[_T] = _Line(1)

    def work() -> None:
        try:
            for item in items:
                if not line.put(item):
                    return
            line.put(_End())
        except BaseException as error:
            line.put(_End(error))

    def received() -> Iterator[_T]:
        while not isinstance(item := line.get(), _End):
            yield item
        if item.error is not None:
            raise item.error

    Thread(target=work, name="ironvec-reader", daemon=True).start()
    try:
        yield received()
    finally:
        line.stopped.set()


class Committer:
    """Writes chunks behind the encoding. Leaving it, by an error too, commits what it was given, unless that fails."""

    def __init__(self, partial: Partial) -> None:
        self._partial = partial
        self._line: _Line[Callable[[], tuple[dict[str, Any], Done]]] = _Line(1)
        self._error: BaseException | None = None
        self._thread = Thread(target=self._work, name="ironvec-writer", daemon=True)

    def __enter__(self) -> Committer:
        self._thread.start()
        return self

    def add(self, make: Callable[[], tuple[dict[str, Any], Done]]) -> None:
        """Takes a chunk: what makes its bytes, and how far the job is with it."""
        if not self._line.put(make) and self._error is not None:
            raise self._error

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._line.put(_End())
        while self._thread.is_alive():
            self._thread.join(_GLANCE_S)
        if kind is None and self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            due = 0.0
            while not isinstance(make := self._line.get(), _End):
                self._partial.append(*make())
                if (began := time.monotonic()) >= due:
                    self._partial.commit()
                    ended = time.monotonic()
                    due = ended + (ended - began) / _SHARE
            self._partial.commit()
        except BaseException as error:
            self._error = error
            self._line.stopped.set()
