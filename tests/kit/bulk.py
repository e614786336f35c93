"""Bulk jobs for tests: rows, the command in a process of its own, and what it leaves behind."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

_WORDS = ("the", "capital", "of", "france", "is", "paris", "cat", "dog", "sat", "on", "mat", "city", "river", "cook")
# Of an output that is done, what does not depend on when files were written.
_COMPARED = ("", ".ids.jsonl", ".rejected.jsonl")


def texts(count: int, seed: int = 1) -> list[str]:
    """Short texts, no two alike."""
    chance = random.Random(seed)
    return [f"{' '.join(chance.choices(_WORDS, k=chance.randint(1, 9)))} {index}" for index in range(count)]


def write_texts(path: Path, rows: list[str]) -> Path:
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8", newline="\n")
    return path


def write_objects(path: Path, rows: list[object]) -> Path:
    """JSON lines."""
    return write_texts(path, [json.dumps(row) for row in rows])


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "ironvec", "embed", *map(str, arguments)]


def embed(*arguments: object, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end; text in UTF-8 unless the environment says otherwise."""
    done = subprocess.run(
        command(*arguments),
        input=stdin,
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        timeout=300,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def left_behind(output: Path) -> dict[str, bytes]:
    """The bytes of the output and its side files, by what stands behind its name."""
    paths = {place: Path(f"{output}{place}") for place in _COMPARED}
    assert not Path(f"{output}.partial").exists(), "a finished job leaves no folder"
    return {place: path.read_bytes() for place, path in paths.items() if path.exists()}


def json_lines(path: Path | str) -> list[object]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def done_rows(output: Path) -> int:
    """Of a job that is not finished, the rows that are."""
    path = Path(f"{output}.partial", "done.json")
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else 0
