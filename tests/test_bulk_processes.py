"""Bulk jobs in processes of their own: two at once, disks that are full, stdin that comes again."""

import json
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from kit.bulk import command, done_rows, embed, json_lines, left_behind, texts, write_texts

resource = pytest.importorskip("resource")  # of POSIX systems
pytestmark = pytest.mark.slow


def test_two_processes_and_the_lock_of_one_that_was_killed(folder, tmp_path):
    rows, output = write_texts(tmp_path / "t.txt", texts(20_000)), tmp_path / "v.npy"
    words = [rows, "-o", output, "--model", folder, "--chunk-rows", 500]
    first = subprocess.Popen(command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not Path(f"{output}.partial", "done.json").exists():
        time.sleep(0.01)
    second = embed(*words)
    assert (second.returncode, second.stdout) == (2, "")
    assert f"v.npy.partial is being written by another process (process {first.pid})" in second.stderr
    assert first.poll() is None
    first.kill()
    first.communicate()
    third = embed(*words)
    assert third.returncode == 0, third.stderr
    assert "were done before" in third.stdout
    assert np.load(output).shape == (20_000, 32)


@pytest.mark.parametrize("kind", ["npy", "parquet", "jsonl"])
def test_a_full_disk_is_an_error_and_what_is_done_stays(folder, tmp_path, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    rows = write_texts(tmp_path / "t.txt", texts(3000))
    words = [rows, "-o", tmp_path / f"v.{kind}", "--model", folder, "--chunk-rows", 100]

    def limited() -> None:
        # A file may not grow beyond this; the error of a disk that is full comes from the same calls.
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))

    failed = subprocess.run(command(*words), capture_output=True, text=True, preexec_fn=limited, timeout=120)
    assert failed.returncode == 1, failed.stderr
    assert failed.stderr.startswith("ironvec: error: ")
    assert f"v.{kind}.partial/" in failed.stderr, "which file"
    assert "what is done is kept" in failed.stderr
    assert "Traceback" not in failed.stderr
    before = done_rows(tmp_path / f"v.{kind}")
    assert 100 <= before < 3000
    done = embed(*words)
    assert done.returncode == 0, done.stderr
    assert f"{before:,} rows were done before" in done.stdout
    assert embed(*words[:1], "-o", tmp_path / f"whole.{kind}", *words[3:]).returncode == 0
    assert left_behind(tmp_path / f"v.{kind}") == left_behind(tmp_path / f"whole.{kind}")


def test_a_real_disk_that_is_full(folder, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount a disk")
    try:
        rows = write_texts(tmp_path / "t.txt", texts(3000))
        words = [rows, "-o", disk / "v.npy", "--model", folder, "--chunk-rows", 100]
        failed = embed(*words)
        assert failed.returncode == 1
        assert "warning: about 0.00 GB are still to be written, and the disk has 0.00 GB left" in failed.stderr
        assert "No space left on device" in failed.stderr
        before = done_rows(disk / "v.npy")
        assert 100 <= before < 3000
        assert embed(*words).returncode == 1, "still full"
        assert done_rows(disk / "v.npy") >= before
        subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
        assert embed(*words).returncode == 0
        assert np.load(disk / "v.npy").shape == (3000, 32)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_stdin_that_comes_again_goes_on_and_another_one_is_refused(folder, tmp_path):
    rows = [json.dumps({"text": text, "key": index}) for index, text in enumerate(texts(2000))]
    stream = "".join(f"{row}\n" for row in rows).encode()
    words = ["-", "--format", "jsonl", "--model", folder, "--chunk-rows", 100, "--id-column", "key"]
    assert embed(*words, "-o", tmp_path / "whole.npy", stdin=stream).returncode == 0
    output = tmp_path / "v.npy"
    # The pipe breaks off in the middle: one bad row, where strict stops.
    half = stream[: len(stream) // 2] + b"{"
    assert embed(*words, "-o", output, "--strict", stdin=half).returncode == 1
    before = done_rows(output)
    assert 500 <= before < 1100
    for other in (stream.replace(b"is", b"as", 1), stream[:1000], b""):
        refused = embed(*words, "-o", output, stdin=other)
        assert refused.returncode == 2
        assert f"the first {before:,} rows of the input are not those" in refused.stderr
        assert done_rows(output) == before
    done = embed(*words, "-o", output, stdin=stream)
    assert f"{before:,} rows were done before" in done.stdout
    assert left_behind(output) == left_behind(tmp_path / "whole.npy")
    assert json_lines(f"{output}.ids.jsonl")[:2] == ["0", "1"]
    # Done, it is still only what it was made of that has nothing left to do.
    again = embed(*words, "-o", output, stdin=stream)
    assert (again.returncode, again.stdout.splitlines()[-1]) == (0, "nothing was left to do: all rows were done before")
    for other, message in {
        stream + b"{}": "the input has more than the 2,000 rows",
        stream[:-50]: "are not those",
    }.items():
        refused = embed(*words, "-o", output, stdin=other)
        assert refused.returncode == 2
        assert message in refused.stderr
