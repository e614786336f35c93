"""Bulk jobs that go on, and those that may not: another model, input or option, another process, a full disk."""

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from ironvec import Embedder
from ironvec.bulk import InUse, Refused, embed_files
from kit.bulk import done_rows, left_behind, texts, write_texts
from kit.checkpoints import write_bert

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
