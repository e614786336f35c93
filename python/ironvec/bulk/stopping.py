"""SIGTERM and Ctrl-C while a job runs: an exception that says how to go on, and the process's end within a second.

Python hears a signal when the model has done its batch, which may take seconds; a thread that the system itself wakes
does not wait so long. What is committed is whole at any moment, so the process may end at any moment.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_PATIENCE_S = 0.7
GO_ON = "what is done is kept, and the same command goes on from there"


class Stopped(BaseException):
    """A signal; `code` is the exit code that it leads to."""

    def __init__(self, number: int) -> None:
        what = "interrupted" if number == signal.SIGINT else "terminated"
        super().__init__(f"{what}: {GO_ON}")
        self.code = 128 + number


@contextmanager
def stopping() -> Iterator[None]:
    """Within it, the first SIGTERM or Ctrl-C raises `Stopped`, and the process ends soon even where that is not heard;
    a second one ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled = (signal.SIGINT, signal.SIGTERM)

    def raise_stopped(number: int, _: FrameType | None) -> None:
        for other in handled:
            signal.signal(other, signal.SIG_DFL)
        raise Stopped(number)

    wakes, woken = socket.socketpair()
    wakes.setblocking(False)
    ended = threading.Event()
    threading.Thread(target=_watch, args=(woken, ended), name="ironvec-signals", daemon=True).start()
    before = {number: signal.signal(number, raise_stopped) for number in handled}
    wakes_before = signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(wakes_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        wakes.close()


def _watch(woken: socket.socket, ended: threading.Event) -> None:
    """Ends the process where a signal has come and nothing follows."""
    with woken:
        while received := woken.recv(1):
            if received[0] not in (signal.SIGINT, signal.SIGTERM):
                continue
            if ended.wait(_PATIENCE_S):
                return
            stopped = Stopped(received[0])
            if sys.stderr is not None:
                os.write(2, f"\nironvec: {stopped}\n".encode())
            os._exit(stopped.code)
