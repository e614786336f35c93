"""Bulk jobs that go on, and those that may not: another model, input or option, another process, a full disk."""

import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from ironvec import Embedder
from ironvec.bulk import InUse, Refused, embed_files
from kit.bulk import command, embed, json_lines, left_behind, texts, write_texts
from kit.checkpoints import write_bert

resource = pytest.importorskip("resource")  # of POSIX systems
ROWS = texts(300)


class Cut(Exception):
    """What ends a job early in these tests."""


@pytest.fixture
def lines(tmp_path):
    return write_texts(tmp_path / "texts.txt", ROWS)


@pytest.fixture
def own(tmp_path):
    """A checkpoint of the test's own, to change."""
    return write_bert(tmp_path / "own").folder


def cut_short(monkeypatch, *arguments, after=3, **options):
    """Runs a job up to its Nth chunk."""
    encode, calls = Embedder._encode_rows, []

    def some(self, rows, **keywords):
        calls.append(len(rows))
        if len(calls) > after:
            raise Cut
        return encode(self, rows, **keywords)

    with monkeypatch.context() as patched:
        patched.setattr(Embedder, "_encode_rows", some)
        with pytest.raises(Cut):
            embed_files(*arguments, chunk_rows=32, **options)


def done_rows(output: Path) -> int:
    return json.loads(Path(f"{output}.partial", "done.json").read_text())["rows"]


@pytest.mark.parametrize("kind", ["npy", "jsonl", "parquet"])
def test_what_is_done_is_not_done_again(lines, model, tmp_path, monkeypatch, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    embed_files(lines, tmp_path / f"whole.{kind}", model, chunk_rows=32)
    output = tmp_path / f"v.{kind}"
    cut_short(monkeypatch, lines, output, model)
    assert done_rows(output) == 96
    assert not output.exists()
    # What was being written when the power went.
    for path in Path(f"{output}.partial").iterdir():
        if path.suffix in (".npy", ".f32", ".jsonl"):
            with path.open("ab") as file:
                file.write(b"half a chunk")
    cut_short(monkeypatch, lines, output, model, after=2)
    assert done_rows(output) == 160
    done = embed_files(lines, output, model, chunk_rows=32)
    assert (done.rows, done.rows_before) == (300, 160)
    assert left_behind(output) == left_behind(tmp_path / f"whole.{kind}")
    assert embed_files(lines, output, model, chunk_rows=32).rows_before == 300


CHANGES = {
    "longer input": (lambda lines, own: write_texts(lines, [*ROWS, "more"]), r"input .*texts.txt: [\d,]+ bytes then"),
    "other input": (
        lambda lines, own: lines.write_text(lines.read_text().swapcase()),
        r"input .*texts.txt: as long as then, with other bytes",
    ),
    "weights": (lambda lines, own: write_bert(own, seed=9), r"model model.safetensors: as long as then, with other"),
    "pooling": (lambda lines, own: write_bert(own, pooling="cls"), r"model 1_Pooling/config.json: as long as then"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_is_named(lines, own, tmp_path, monkeypatch, change):
    alter, message = CHANGES[change]
    output = tmp_path / "v.npy"
    cut_short(monkeypatch, lines, output, own)
    before = (tmp_path / "v.npy.partial" / "done.json").read_bytes()
    alter(lines, own)
    with pytest.raises(Refused, match=message) as refusal:
        embed_files(lines, output, own, chunk_rows=32)
    assert len(str(refusal.value).splitlines()) == 3, "one difference"
    assert "begin anew with --overwrite" in str(refusal.value)
    assert (tmp_path / "v.npy.partial" / "done.json").read_bytes() == before
    embed_files(lines, output, own, chunk_rows=32, overwrite=True)
    expected = Embedder(own).encode(lines.read_text().splitlines())
    np.testing.assert_allclose(np.load(output), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk_rows": 64}, "chunk_rows: 32 then, 64 now"),
        ({"prompt": "query: "}, "prompt: not given then, 'query: ' now"),
        ({"normalize": False}, "normalize: not given then, False now"),
        ({"batch_size": 2}, "batch_size: not given then, 2 now"),
        ({"threads": 1}, "threads: 2 then, 1 now"),
        ({"truncate_dim": 8}, "truncate_dim: not given then, 8 now"),
        ({"max_length": 8}, "max_length: not given then, 8 now"),
        ({"dtype": "int8"}, "dtype: 'float32' then, 'int8' now"),
        ({"memory": "low"}, "memory: 'fast' then, 'low' now"),
    ],
)
def test_another_option_is_named(lines, folder, tmp_path, monkeypatch, options, message):
    cut_short(monkeypatch, lines, tmp_path / "v.npy", folder, threads=2)
    with pytest.raises(Refused, match=message):
        embed_files(lines, tmp_path / "v.npy", folder, **{"chunk_rows": 32, "threads": 2, **options})


def test_other_inputs_are_named(lines, model, tmp_path, monkeypatch):
    second = write_texts(tmp_path / "second.txt", ["more"])
    cut_short(monkeypatch, [lines, second], tmp_path / "v.npy", model)
    for inputs, message in {
        (lines,): r"input .*second.txt: not there now",
        (second, lines): "inputs: the same files in another order",
        (lines, second, write_texts(tmp_path / "third.txt", ["more"])): r"input .*third.txt: not there then",
    }.items():
        with pytest.raises(Refused, match=message):
            embed_files(inputs, tmp_path / "v.npy", model, chunk_rows=32)


def test_the_same_bytes_at_another_time_are_the_same_job(lines, own, tmp_path, monkeypatch):
    output = tmp_path / "v.npy"
    cut_short(monkeypatch, lines, output, own)
    for path in (lines, *own.rglob("*.*")):
        os.utime(path, (1_600_000_000, 1_600_000_000))
    moved = shutil.copytree(own, tmp_path / "moved")
    assert embed_files(lines, output, moved, chunk_rows=32).rows_before == 96


def test_a_file_that_changes_while_it_is_read_is_an_error(lines, model, tmp_path, monkeypatch):
    encode = Embedder._encode_rows

    def meanwhile(self, rows, **keywords):
        with lines.open("a") as file:
            file.write("more\n")
        return encode(self, rows, **keywords)

    rows = write_texts(lines, texts(3000))
    monkeypatch.setattr(Embedder, "_encode_rows", meanwhile)
    with pytest.raises(Refused, match="was changed while it was read"):
        embed_files(rows, tmp_path / "v.npy", model, chunk_rows=100)


def test_an_output_of_others_is_not_replaced_unasked(lines, model, tmp_path):
    output = tmp_path / "v.npy"
    output.write_bytes(b"mine")
    with pytest.raises(Refused, match="is there already, and not by this command"):
        embed_files(lines, output, model)
    assert output.read_bytes() == b"mine"
    assert not Path(f"{output}.partial").exists()
    embed_files(lines, output, model, overwrite=True)
    assert np.load(output).shape == (300, 32)
    with pytest.raises(Refused, match="is of another job:\n  normalize: not given then, False now"):
        embed_files(lines, output, model, normalize=False)
    with output.open("ab") as file:
        file.write(b"more")
    with pytest.raises(Refused, match="its size is not what it was"):
        embed_files(lines, output, model)
    output.unlink()
    assert embed_files(lines, output, model).rows_before == 0


def test_an_old_output_stays_until_the_new_one_is_done(lines, model, tmp_path, monkeypatch):
    output = tmp_path / "v.npy"
    write_texts(tmp_path / "old.jsonl", ['{"text": "old"}', "bad"])
    embed_files(tmp_path / "old.jsonl", output, model)
    old = left_behind(output)
    cut_short(monkeypatch, lines, output, model, overwrite=True)
    assert {place: Path(f"{output}{place}").read_bytes() for place in old} == old
    assert embed_files(lines, output, model, chunk_rows=32, overwrite=True).rows_before == 96
    assert set(left_behind(output)) == {"", ".ids.jsonl"}, "no rejected rows of the old one"


@pytest.mark.parametrize("name", ["job.json", "done.json"])
def test_a_broken_note_is_named(lines, model, tmp_path, monkeypatch, name):
    cut_short(monkeypatch, lines, tmp_path / "v.npy", model)
    (tmp_path / "v.npy.partial" / name).write_text("{")
    with pytest.raises(Refused, match=rf"{name} is broken: .* remove .*v.npy.partial to begin anew"):
        embed_files(lines, tmp_path / "v.npy", model, chunk_rows=32)


def test_a_file_that_has_lost_bytes_is_named(lines, model, tmp_path, monkeypatch):
    cut_short(monkeypatch, lines, tmp_path / "v.npy", model)
    os.truncate(tmp_path / "v.npy.partial" / "vectors.npy", 200)
    with pytest.raises(Refused, match=r"vectors.npy has lost bytes"):
        embed_files(lines, tmp_path / "v.npy", model, chunk_rows=32)


def test_two_at_once_in_one_process(lines, model, tmp_path, monkeypatch):
    encode, waiting, go_on = Embedder._encode_rows, threading.Event(), threading.Event()

    def slowly(self, rows, **keywords):
        waiting.set()
        assert go_on.wait(60)
        return encode(self, rows, **keywords)

    monkeypatch.setattr(Embedder, "_encode_rows", slowly)
    first = threading.Thread(target=embed_files, args=(lines, tmp_path / "v.npy", model))
    first.start()
    assert waiting.wait(60)
    with pytest.raises(InUse, match=rf"v.npy.partial is being written by another process \(process {os.getpid()}\)"):
        embed_files(lines, tmp_path / "v.npy", model)
    go_on.set()
    first.join()
    assert np.load(tmp_path / "v.npy").shape == (300, 32)


@pytest.mark.slow
def test_two_processes_and_the_lock_of_one_that_was_killed(model, folder, tmp_path):
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


@pytest.mark.slow
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
    assert "what is done is kept" in failed.stderr
    assert "Traceback" not in failed.stderr
    before = done_rows(tmp_path / f"v.{kind}")
    assert 100 <= before < 3000
    done = embed(*words)
    assert done.returncode == 0, done.stderr
    assert f"{before:,} rows were done before" in done.stdout
    assert embed(*words[:1], "-o", tmp_path / f"whole.{kind}", *words[3:]).returncode == 0
    assert left_behind(tmp_path / f"v.{kind}") == left_behind(tmp_path / f"whole.{kind}")


@pytest.mark.slow
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


@pytest.mark.slow
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
