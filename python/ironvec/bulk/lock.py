"""One process at a time: a lock on a file, which the system lifts when the process ends, however it ends."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from .refusal import InUse


class Lock:
    """Held from the start to `release`.

    Raises:
        InUse: Another process holds it.
        OSError: The disk takes no locks.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        while True:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _lock(self._file)
            except BlockingIOError:
                holder = os.pread(self._file, 32, 1).decode("ascii", "replace") if hasattr(os, "pread") else ""
                os.close(self._file)
                of = f" ({holder.strip()})" if holder.strip() else ""
                raise InUse(f"{os.path.dirname(path)} is being written by another process{of}") from None
            except OSError as error:
                os.close(self._file)
                raise OSError(error.errno, f"this disk takes no locks: {error.strerror}", path) from error
            # Who had it may have removed the file meanwhile, and a lock on that is seen by nobody.
            with suppress(OSError):
                if os.path.samestat(os.fstat(self._file), os.stat(path)):
                    break
            os.close(self._file)
        # After the first byte, which is what is locked where locks are of bytes.
        os.lseek(self._file, 1, os.SEEK_SET)
        os.write(self._file, f"{f'process {os.getpid()}':<31}".encode())

    def release(self, *, remove: bool) -> None:
        """Lifts the lock; with `remove`, the file goes before anybody else can lock it."""
        if remove and sys.platform != "win32":
            with suppress(OSError):
                os.unlink(self._path)
        os.close(self._file)
        if remove and sys.platform == "win32":
            with suppress(OSError):
                os.unlink(self._path)


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError from error

else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
