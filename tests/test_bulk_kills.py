"""Bulk jobs that are killed: at random moments, at every step that touches the disk, and by signals that say please.

The output has the bytes of a job that nobody disturbed, whatever happened.
"""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kit.bulk import command, left_behind, texts, write_texts
from kit.checkpoints import write_bert

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")]

ROWS, KILLS = 20_000, 50


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> tuple[Path, Path]:
    """A folder of texts, a few of them bad, and a model."""
    folder = tmp_path_factory.mktemp("job")
    rows = [f'{{"text": {json.dumps(text)}}}' for text in texts(ROWS)]
    for bad in (0, 199, 200, 7_777, ROWS - 1):
        rows[bad] = f"bad {bad}"
    write_texts(folder / "texts.jsonl", rows)
    return folder, write_bert(folder / "model").folder


def arguments(job: tuple[Path, Path], output: Path, chunk_rows: int = 200) -> list[str]:
    folder, model = job
    return command(folder / "texts.jsonl", "-o", output, "--model", model, "--chunk-rows", chunk_rows, "--threads", 1)


def undisturbed(job: tuple[Path, Path], output: Path) -> dict[str, bytes]:
    assert subprocess.run(arguments(job, output), capture_output=True, timeout=300).returncode == 1
    return left_behind(output)


def committed(output: Path) -> int:
    """Rows, bad ones too."""
    path = Path(f"{output}.partial", "done.json")
    return json.loads(path.read_text())["read"] if path.exists() else 0


@pytest.mark.parametrize("kind", ["npy", "parquet"])
def test_fifty_kills_leave_the_same_bytes(job, tmp_path, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    expected = undisturbed(job, tmp_path / f"undisturbed.{kind}")
    assert len(expected[".rejected.jsonl"].splitlines()) == 5
    chance = random.Random(12)
    kills, jobs, advanced = 0, 0, 0
    # A job that comes to its end under way is compared, and another one takes the rest of the kills.
    while kills < KILLS or jobs == 0:
        output, before = tmp_path / f"{jobs}.{kind}", 0
        while True:
            process = subprocess.Popen(arguments(job, output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if kills < KILLS:
                # Some while the process starts, most while it works, however fast the machine is.
                while chance.random() > 0.02 and committed(output) == before and process.poll() is None:
                    time.sleep(0.02)
                time.sleep(chance.uniform(0.0, 0.4))
                process.kill()
            if (code := process.wait(300)) == -signal.SIGKILL:
                kills += 1
                now = committed(output)
                assert now >= before or now == 0, "what is done stays done"
                advanced += now > before
                before = now
                continue
            assert code == 1
            assert left_behind(output) == expected
            jobs += 1
            break
    assert advanced >= 15, "the kills came too early to show anything"


# Ends the process, as kill -9 does, before the Nth call that changes the disk.
AT_A_STEP = """
import os, signal, sys
step = int(sys.argv.pop(1))
calls = 0
def deadly(function):
    def call(*arguments, **keywords):
        global calls
        calls += 1
        if calls == step: os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **keywords)
    return call
for name in ("fsync", "replace", "unlink", "mkdir", "rmdir"):
    setattr(os, name, deadly(getattr(os, name)))
from ironvec.cli import main
code = main(sys.argv[1:])
print("calls", calls)
sys.exit(code)
"""


@pytest.mark.parametrize("kind", ["npy", "parquet", "jsonl"])
def test_a_kill_at_every_step_leaves_the_same_bytes(tmp_path, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    model = write_bert(tmp_path / "model").folder
    rows = write_texts(tmp_path / "texts.jsonl", [f'{{"text": "{text}"}}' for text in texts(50)] + ["bad"])

    def run(output: Path, step: int) -> subprocess.CompletedProcess[str]:
        words = ["embed", rows, "-o", output, "--model", model, "--chunk-rows", 20, "--threads", 1]
        code = [sys.executable, "-c", AT_A_STEP, str(step), *map(str, words)]
        return subprocess.run(code, capture_output=True, text=True, timeout=120)

    done = run(tmp_path / f"undisturbed.{kind}", 0)
    assert done.returncode == 1, done.stderr
    expected = left_behind(tmp_path / f"undisturbed.{kind}")
    steps = int(done.stdout.split("calls")[1])
    assert steps >= 12
    for step in range(1, steps + 1):
        output = tmp_path / f"{step}.{kind}"
        killed = run(output, step)
        if killed.returncode != 1:  # how many commits there are is a matter of time
            assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert run(output, 0).returncode == 1
        assert left_behind(output) == expected, f"step {step}"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_it_within_a_second_and_it_goes_on(job, tmp_path, number, code):
    output = tmp_path / "vectors.npy"
    expected = undisturbed(job, tmp_path / "undisturbed.npy")
    slowest = 0.0
    for turn in range(4):
        process = subprocess.Popen(arguments(job, output), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        before = committed(output)
        while committed(output) == before and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05 * turn)
        sent = time.monotonic()
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
        slowest = max(slowest, time.monotonic() - sent)
        assert process.returncode == code, stderr
        assert "what is done is kept, and the same command goes on from there" in stderr
        assert "Traceback" not in stderr
        assert before < committed(output) < ROWS
    assert slowest < 1.0
    done = subprocess.run(arguments(job, output), capture_output=True, text=True, timeout=300)
    assert "rows were done before" in done.stdout
    assert left_behind(output) == expected


STUCK = """
import hashlib
from ironvec.bulk.stopping import stopping
with stopping():
    print("ready", flush=True)
    # Lets go of the GIL and hears nothing, as a batch of a large model does.
    hashlib.pbkdf2_hmac("sha256", b"a", b"b", 100_000_000)
"""


def test_a_batch_that_hears_nothing_does_not_hold_up_the_end():
    process = subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    sent = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert time.monotonic() - sent < 1.0
    assert process.returncode == 143, stderr
    assert "the same command goes on from there" in stderr


def test_a_second_signal_ends_it_at_once(job, tmp_path):
    process = subprocess.Popen(arguments(job, tmp_path / "v.npy"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not committed(tmp_path / "v.npy"):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) in (143, -signal.SIGTERM)
