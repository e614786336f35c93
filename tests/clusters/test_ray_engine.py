"""`ironvec embed --engine ray`: the bytes of one process, whoever is killed meanwhile."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="ray is not installed here: make test-clusters")

from ironvec import Embedder
from ironvec.bulk import embed_files
from kit.bulk import command, embed, left_behind, texts, write_texts
from kit.checkpoints import write_bert
from kit.process_tree import descendants

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

ROWS, CHUNK_ROWS, BAD = 24_000, 300, (0, 299, 300, 7_777, 23_999)
ACTOR = "ray::_Worker"
PATIENCE_S = 300


class Job:
    """Texts, a few of them bad; a model; and what one process makes of them."""

    def __init__(self, folder: Path) -> None:
        self.model = write_bert(folder / "model").folder
        rows = [json.dumps({"text": text}) for text in texts(ROWS)]
        for bad in BAD:
            rows[bad] = f"bad {bad}"
        self.rows = write_texts(folder / "texts.jsonl", rows)
        alone = folder / "alone.npy"
        assert embed(*self.words(alone)).returncode == 1
        self.expected = left_behind(alone)

    def words(self, output: Path) -> list[object]:
        return [self.rows, "-o", output, "--model", self.model, "--chunk-rows", CHUNK_ROWS, "--threads", 1]

    def start(self, output: Path, address: str) -> subprocess.Popen[str]:
        """The command on two workers, under way: some chunks are committed."""
        process = subprocess.Popen(
            command(*self.words(output), "--engine", "ray", "--workers", 2),
            env={**os.environ, "RAY_ADDRESS": address},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + PATIENCE_S
        while not 0 < committed(output) < ROWS:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        return process


def committed(output: Path) -> int:
    path = Path(f"{output}.partial", "done.json")
    try:
        return int(json.loads(path.read_text())["read"])
    except OSError:
        return 0


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    return Job(tmp_path_factory.mktemp("job"))


def actors_gone() -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while descendants(ACTOR) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not descendants(ACTOR)


def test_a_killed_worker_leaves_the_same_bytes(job, ray_address, tmp_path):
    output = tmp_path / "vectors.npy"
    process = job.start(output, ray_address)
    workers = descendants(ACTOR)
    assert len(workers) == 2, "two processes share the work"
    os.kill(workers[0], signal.SIGKILL)
    assert committed(output) < ROWS, "killed in the middle"
    printed, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, errors
    assert f"{len(BAD)} rows rejected" in printed
    assert "(raylet)" not in printed, "stdout is the command's own"
    assert left_behind(output) == job.expected
    assert len(job.expected[".rejected.jsonl"].splitlines()) == len(BAD)
    assert actors_gone()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143)])
def test_a_stopped_job_goes_on_with_any_engine(job, ray_address, tmp_path, number, code):
    output = tmp_path / "vectors.npy"
    process = job.start(output, ray_address)
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code, errors
    if number == signal.SIGTERM:
        assert "what is done is kept, and the same command goes on from there" in errors
    assert 0 < committed(output) < ROWS
    assert actors_gone(), "nobody works for a driver that is dead"
    # With the other engine, by turns.
    more = ["--engine", "ray", "--workers", 2] if number == signal.SIGKILL else []
    done = embed(*job.words(output), *more, RAY_ADDRESS=ray_address)
    assert "rows were done before" in done.stdout
    assert left_behind(output) == job.expected


def test_a_ray_of_its_own_is_gone_afterwards(job, tmp_path):
    output = tmp_path / "vectors.npy"
    before = ray_processes()
    done = embed(*job.words(output), "--engine", "ray", "--workers", 1)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert left_behind(output) == job.expected
    deadline = time.monotonic() + PATIENCE_S
    while ray_processes() - before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not ray_processes() - before
    again = embed(*job.words(output), "--engine", "ray", "--workers", 1)
    assert "nothing was left to do" in again.stdout


def ray_processes() -> set[str]:
    names = ("raylet", "gcs_server")
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            program = path.read_bytes().partition(b"\0")[0].decode(errors="replace")
        except OSError:
            continue
        if program.rpartition("/")[2] in names:
            found.add(path.parent.name)
    return found


def test_a_worker_of_another_kind_is_refused(job, ray_address, tmp_path):
    output = tmp_path / "vectors.npy"
    words = [*job.words(output), "--engine", "ray", "--workers", 2]
    # The variable reaches this process and none of the cluster's.
    done = embed(*words, RAY_ADDRESS=ray_address, IRONVEC_KERNELS="onnxruntime")
    assert done.returncode == 2
    assert "would make other vectors than where the job was begun" in done.stderr
    assert "kernels: 'onnxruntime' then" in done.stderr
    assert not output.exists()


def test_a_chunk_that_kills_its_workers_is_given_up(job, ray_address, tmp_path):
    output = tmp_path / "vectors.npy"
    process = job.start(output, ray_address)
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        for worker in descendants(ACTOR):
            os.kill(worker, signal.SIGKILL)
        time.sleep(0.2)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, errors
    assert "given up after its worker died 4 times" in errors
    assert "the same command goes on from there" in errors
    assert embed(*job.words(output)).returncode == 1
    assert left_behind(output) == job.expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"engine": "ray", "workers": 5}, "no room for 5 workers of 1 CPUs each: its nodes have 4"),
        ({"engine": "ray", "workers": 0}, "workers is 0"),
        ({"engine": "dask"}, "engine 'dask' is not one that there is"),
        ({"workers": 2}, "workers are another engine's"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_begun(job, ray_address, tmp_path, arguments, message):
    output = tmp_path / "vectors.npy"
    with pytest.raises(ValueError, match=message):
        embed_files(job.rows, output, job.model, threads=1, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_workers_fill_the_cluster_where_none_are_named(job, ray_address, tmp_path):
    done = embed_files(job.rows, tmp_path / "vectors.npy", Embedder(job.model, threads=1), chunk_rows=CHUNK_ROWS,
                       engine="ray")  # fmt: skip
    assert (done.rows, done.rejected) == (ROWS - len(BAD), len(BAD))
    assert left_behind(tmp_path / "vectors.npy")[""] == job.expected[""]
