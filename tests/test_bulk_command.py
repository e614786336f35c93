"""`ironvec embed` as a shell sees it: what it prints, its exit codes, pipes, a terminal of 80 columns, LANG=C."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from kit.bulk import command, embed, texts, write_objects, write_texts

pytestmark = pytest.mark.slow


@pytest.fixture
def rows(tmp_path):
    return write_texts(tmp_path / "texts.txt", texts(100))


def test_a_job_says_what_it_made(rows, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = embed("texts.txt", "-o", "v.npy", "--model", folder)
    assert (done.returncode, done.stderr) == (0, "")
    first, second, third = done.stdout.splitlines()
    assert first == "v.npy: 100 rows x 32, float32"
    assert second == "v.npy.ids.jsonl: the id of each row, a line each"
    assert third.endswith(" rows/s")
    again = embed("texts.txt", "-o", "v.npy", "--model", folder)
    assert again.stdout.splitlines()[2:] == ["nothing was left to do: all rows were done before"]


def test_bad_rows_are_counted_and_named(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_objects(tmp_path / "t.jsonl", [{"text": "a"}, {"text": 1}])
    done = embed("t.jsonl", "-o", "v.npy", "--model", folder)
    assert done.returncode == 1
    assert "v.npy.rejected.jsonl: 1 row rejected, with place and reason" in done.stdout
    assert json.loads((tmp_path / "v.npy.rejected.jsonl").read_text()) == {
        "input": "t.jsonl", "line": 2, "index": 1, "reason": "'text' is a number, not a string",
    }  # fmt: skip
    strict = embed("t.jsonl", "-o", "w.npy", "--model", folder, "--strict")
    assert (strict.returncode, strict.stdout) == (1, "")
    assert strict.stderr.startswith("ironvec: error: t.jsonl, line 2: 'text' is a number, not a string\n")
    assert "without --strict" in strict.stderr


def test_json_is_for_programs(rows, folder, tmp_path):
    done = embed(rows, "-o", tmp_path / "v.npy", "--model", folder, "--json")
    summary = json.loads(done.stdout)
    assert {name: summary[name] for name in ("rows", "dimension", "rejected", "rows_before")} == {
        "rows": 100, "dimension": 32, "rejected": 0, "rows_before": 0,
    }  # fmt: skip
    assert summary["output"] == str(tmp_path / "v.npy")
    assert set(summary["files"]) == {"ids", "manifest"}
    assert summary["rows_per_second"] > 0
    again = embed(rows, "-o", tmp_path / "v.npy", "--model", folder, "--json")
    assert json.loads(again.stdout)["rows_per_second"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.txt", "-o", "v.npy"], "none.txt: no such file or folder"),
        (["texts.txt", "-o", "v.bin"], "must end in .npy, .parquet or .jsonl"),
        (["texts.txt", "-o", "v.npy", "--model", "./none"], "no model at"),
        (["texts.txt", "-o", "v.npy", "--dtype", "float8"], "float8"),
        (["texts.txt", "-o", "v.npy", "--chunk-rows", "0"], "chunk_rows is 0"),
        (["texts.txt", "-o", "v.npy", "--chunk-rows", "x"], "invalid int value"),
        (["texts.txt"], "required: -o/--output"),
    ],
)
def test_wrong_arguments_are_exit_code_2(rows, folder, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    done = embed(*([] if "--model" in words else ["--model", folder]), *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(os.listdir()) == ["texts.txt"]


def test_a_broken_model_is_exit_code_1(rows, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{")
    done = embed(rows, "-o", tmp_path / "v.npy", "--model", tmp_path / "model")
    assert (done.returncode, done.stdout) == (1, "")
    assert "config.json" in done.stderr


@pytest.mark.parametrize(
    "environment", [{}, {"LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}]
)
def test_text_is_utf8_whatever_the_locale(folder, tmp_path, environment):
    names = ["Zürich", "東京", "🙂"]
    source = tmp_path / "ü.jsonl"
    source.write_text("".join(f'{{"text": "a", "id": "{name}"}}\n' for name in names) + "{ü}\n", encoding="utf-8")
    words = [source, "-o", tmp_path / "v.jsonl", "--model", folder, "--id-column", "id"]
    done = embed(*words, **environment)
    assert done.returncode == 1, done.stderr
    written = (tmp_path / "v.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in written] == names
    rejected = json.loads((tmp_path / "v.jsonl.rejected.jsonl").read_text(encoding="ascii"))
    assert rejected["input"] == str(source)
    assert (
        "Traceback" not in embed(tmp_path / "no ü", "-o", tmp_path / "w.npy", "--model", folder, **environment).stderr
    )


def test_a_pipe_in_and_a_pipe_out(folder, tmp_path):
    words = " ".join(command("-", "-o", tmp_path / "v.npy", "--model", folder))
    done = subprocess.run(
        ["sh", "-c", f"seq 1 5000 | {words} | head -n 1"], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == f"{tmp_path}/v.npy: 5,000 rows x 32, float32\n"
    assert "Traceback" not in done.stderr
    assert np.load(tmp_path / "v.npy").shape == (5000, 32)


def test_stdin_that_ends_late_does_not_hold_up_ctrl_c(folder, tmp_path):
    process = subprocess.Popen(
        command("-", "-o", tmp_path / "v.npy", "--model", folder),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(b"a text\n")
    process.stdin.flush()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(4)
    process.terminate()
    _, stderr = process.communicate(timeout=1.5)
    assert process.returncode == 143
    assert b"the same command goes on from there" in stderr
    assert b"Fatal" not in stderr


def test_a_terminal_gets_a_bar_within_80_columns(folder, tmp_path):
    rows = write_texts(tmp_path / "texts.txt", texts(150_000))
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "LINES": "24", "TERM": "xterm"}
    process = subprocess.Popen(
        command(rows, "-o", tmp_path / "v.npy", "--model", folder, "--chunk-rows", 500),
        stdout=subprocess.PIPE, stderr=slave, env=environment,
    )  # fmt: skip
    os.close(slave)
    shown = b""
    while True:
        try:
            block = os.read(master, 4096)
        except OSError:
            break
        if not block:
            break
        shown += block
    os.close(master)
    process.communicate(timeout=60)
    lines = shown.decode().replace("\n", "\r").split("\r")
    bars = [line for line in lines if line.startswith("Embedding")]
    assert bars
    assert "/150000" in bars[-1]
    assert any("row/s" in bar and "<" in bar for bar in bars), "the rate and the time left"
    assert max(map(len, lines)) <= 80


def test_help_fits_80_columns():
    done = subprocess.run(
        command("--help"), capture_output=True, text=True, env={**os.environ, "COLUMNS": "80"}, timeout=60
    )
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    for said in ("--text-column", "--id-column", "--strict", "OUTPUT.rejected.jsonl", "exit code:", "examples:"):
        assert said in done.stdout
    assert sys.executable not in done.stdout
