"""The folder `OUTPUT.partial`: what is done of a job that is not finished. A kill or a power cut at any moment leaves
whole chunks and nothing else.

`job.json` says what the job is. Files grow at their ends; `done.json` says how far they count, and is replaced, by
renaming, after their bytes have reached the disk. What lies beyond is cut off when the job goes on.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from io import FileIO
from typing import Any, BinaryIO

from .lock import Lock
from .refusal import Refused


@dataclass(frozen=True)
class Done:
    """How far a job has come, at the end of a chunk."""

    read: int = 0  # rows, bad ones too
    rows: int = 0
    rejected: int = 0
    sha256: str = ""  # of the rows read
    bytes: dict[str, int] = field(default_factory=dict)  # of each file, that count
    complete: bool = False  # every row has been read


class Partial:
    """The folder, for this process alone until `close`."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._files: dict[str, BinaryIO] = {}
        while True:
            with suppress(FileExistsError):
                os.mkdir(folder)
            # Its last owner may remove it at this moment.
            with suppress(FileNotFoundError):
                self._lock = Lock(self.path("lock"))
                break
        self.job: dict[str, Any] | None = None
        self.done = Done()
        try:
            self.job = read_job(self.path("job.json"))
            if self.job is not None and (done := _read_json(self.path("done.json"))) is not None:
                self.done = Done(**done)
        except (Refused, TypeError, ValueError) as error:
            self._lock.release(remove=False)
            raise Refused(f"{error}; remove {self.folder} to begin anew") from error
        self._written = self.done

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def begin(self, job: Mapping[str, Any]) -> None:
        """Empties the folder and writes down what is to be done."""
        self._empty()
        write_synced(self.path("job.json"), json.dumps(job, indent=1))
        self.job, self.done, self._written = dict(job), Done(), Done()

    def open(self, starts: Mapping[str, bytes]) -> None:
        """Opens the files for more, cut back to what counts. `starts`: what each begins with."""
        sizes = {name: self.done.bytes.get(name, len(start)) for name, start in starts.items()}
        for name, start in starts.items():
            path = self.path(name)
            file = open(path, "r+b" if os.path.exists(path) else "w+b", buffering=0)  # noqa: SIM115
            self._files[name] = file
            if name in self.done.bytes and os.fstat(file.fileno()).st_size < sizes[name]:
                raise Refused(f"{path} has lost bytes; remove {self.folder} to begin anew")
            if name not in self.done.bytes:
                _write(file, start)
            file.truncate(sizes[name])
            file.seek(sizes[name])
        sync_folder(self.folder)
        self.done = self._written = replace(self.done, bytes=sizes)

    def append(self, pieces: Mapping[str, Any], done: Done) -> None:
        """Adds a chunk's bytes to the files; they count with the next `commit`."""
        sizes = dict(self._written.bytes)
        for name, piece in pieces.items():
            _write(self._files[name], piece)
            sizes[name] += memoryview(piece).nbytes
        self._written = replace(done, bytes=sizes)

    def commit(self) -> None:
        """Lets everything appended count."""
        if self._written == self.done:
            return
        for name, size in self._written.bytes.items():
            if size != self.done.bytes.get(name):
                with _named(self._files[name]):
                    os.fsync(self._files[name].fileno())
        write_synced(self.path("done.json"), json.dumps(asdict(self._written)))
        self.done = self._written

    def mark_complete(self) -> None:
        """Says that there are no more rows."""
        self._written = replace(self.done, complete=True)
        self.commit()

    def close_files(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()

    def close(self) -> None:
        """Lets others have the folder, and removes it where it holds no job."""
        self.close_files()
        if self.job is None:
            self._empty()
        self._lock.release(remove=self.job is None)
        if self.job is None:
            with suppress(OSError):
                os.rmdir(self.folder)

    def finished(self) -> None:
        """Forgets the job, whose files are where they belong."""
        self.job = None

    def _empty(self) -> None:
        """Removes all but the lock. First what holds the rest together: half of it would be taken for a whole."""
        self.close_files()
        for name in ("job.json", "done.json", *os.listdir(self.folder)):
            if name != "lock":
                with suppress(FileNotFoundError):
                    os.unlink(self.path(name))


def read_job(path: str) -> dict[str, Any] | None:
    """What a job was made of; None where no such file is."""
    content = _read_json(path)
    if content is not None and not (isinstance(content, dict) and {"options", "model", "inputs"} <= content.keys()):
        raise Refused(f"{path} does not describe a job")
    return content


def _read_json(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Refused(f"{path} is broken: {error}") from error


def _write(file: BinaryIO | FileIO, piece: Any) -> None:
    """All of it: a raw file may take less at a time, as a disk does just before it is full."""
    if not memoryview(piece).nbytes:
        return  # an array without rows cannot be seen as bytes
    rest = memoryview(piece).cast("B")
    while rest:
        with _named(file):
            rest = rest[file.write(rest) :]


@contextmanager
def _named(file: BinaryIO | FileIO) -> Iterator[None]:
    """Within it, an error names the file, which writing alone does not."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, file.name) from error


def write_synced(path: str, text: str) -> None:
    """Writes a small file that is there whole, or as it was before, whenever the power goes."""
    temporary = f"{path}.new"
    with open(temporary, "wb", buffering=0) as file:
        _write(file, text.encode())
        with _named(file):
            os.fsync(file.fileno())
    os.replace(temporary, path)


def sync_folder(path: str) -> None:
    """Lets renamings in a folder reach the disk."""
    if sys.platform == "win32":
        return
    folder = os.open(path or ".", os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
