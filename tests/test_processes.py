"""Threads, forks, pickles, other users of ONNX Runtime in the process, and libraries that are not one. What could hang
or kill the interpreter runs in a subprocess with a timeout."""

import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from ironvec import Embedder
from kit.interpreter import python
from kit.onnx_protobuf import GraphWriter
from kit.vectors import close

WORDS = "the capital of france is paris cook pasta in water a cat dog sat on mat red blue green".split()  # noqa: SIM905
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def texts_of(seed: int) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, size)) for size in random.integers(0, 60, 100)]


# --- threads


def test_ten_threads_share_one_embedder(model):
    lists = [texts_of(seed) for seed in range(10)]
    expected = [model.encode(texts) for texts in lists]
    found: dict[tuple[int, int], np.ndarray] = {}
    together = threading.Barrier(10)

    def work(thread: int) -> None:
        together.wait(timeout=30)
        for turn in range(3):
            found[thread, turn] = model.encode(lists[(thread + turn) % 10], batch_size=1 + thread * 7)

    threads = [threading.Thread(target=work, args=(thread,), daemon=True) for thread in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(found) == 30
    for (thread, turn), rows in found.items():
        close(rows, expected[(thread + turn) % 10])


def test_other_threads_run_while_it_encodes(model):
    turns, done = [], threading.Event()

    def count() -> None:
        while not done.wait(timeout=0.001):
            turns.append(None)

    # Nobody is made to hand over the GIL, so that turns during the call mean that encode let go of it.
    interval = sys.getswitchinterval()
    counter = threading.Thread(target=count, daemon=True)
    texts = texts_of(0) * 20
    counter.start()
    sys.setswitchinterval(1000)
    try:
        before, end = len(turns), time.monotonic() + 0.5  # a free-threaded wait of 1 ms may take ten
        while time.monotonic() < end:
            model.encode(texts)
        during = len(turns) - before
    finally:
        sys.setswitchinterval(interval)
        done.set()
        counter.join(timeout=10)
    assert during >= 5


# --- ONNX Runtime's own package in the same process


def write_matmul(path: Path) -> None:
    """ONNX: y (2, 2) = x (2, 2) @ w, w = [[1, 2], [3, 4]]."""
    graph = GraphWriter(path)
    weight = graph.constant("w", np.array([[1, 2], [3, 4]]), "float32")
    product = graph.node("MatMul", graph.input("x", "float32", [2, 2]), weight)
    graph.output(product, "y", "float32", [2, 2])
    graph.save()


BESIDE_ONNXRUNTIME = """
import sys, threading
import numpy as np
folder, order, model = sys.argv[1:4]
def ours():
    from ironvec import Embedder
    return Embedder(folder)
def theirs():
    import onnxruntime
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
if order == "theirs first":
    session, embedder = theirs(), ours()
else:
    embedder = ours()
    embedder.encode("cat")
    session = theirs()
texts = ["the cat sat", "a dog", ""] * 50
rows = embedder.encode(texts)
x = np.array([[1, 2], [3, 4]], np.float32)
wrong, stop = [], threading.Event()
def run():
    while not stop.is_set():
        if session.run(None, {"x": x})[0].tolist() != [[7, 10], [15, 22]]: wrong.append("theirs")
thread = threading.Thread(target=run)
thread.start()
for _ in range(5):
    if abs(embedder.encode(texts) - rows).max() > 1e-5: wrong.append("ours")
stop.set()
thread.join()
del embedder
assert session.run(None, {"x": x})[0].tolist() == [[7, 10], [15, 22]]
again = ours()
del session
assert abs(again.encode(texts) - rows).max() < 1e-5
np.save(sys.argv[4], rows)
print(wrong)
"""


@pytest.mark.parametrize("order", ["ours first", "theirs first"])
def test_onnxruntimes_own_sessions_are_not_disturbed(model, folder, tmp_path, order):
    write_matmul(tmp_path / "matmul.onnx")
    paths = tmp_path / "matmul.onnx", tmp_path / "rows.npy"
    assert python(BESIDE_ONNXRUNTIME, folder, order, *paths) == "[]\n"
    close(np.load(tmp_path / "rows.npy"), model.encode(["the cat sat", "a dog", ""] * 50))


BAD_LIBRARY = """
import sys, ironvec
for _ in range(2):
    try: ironvec.Embedder(sys.argv[1])
    except ironvec.ProviderError as error: print(error)
"""


@pytest.mark.parametrize("library", ["missing", "text", "empty", "folder", "no ONNX Runtime"])
def test_a_library_that_is_not_onnx_runtime(folder, tmp_path, library):
    path = tmp_path / "libonnxruntime.so"
    if library == "folder":
        path.mkdir()
    elif library == "no ONNX Runtime":
        path = Path(find_spec("ironvec._core").origin)
    elif library != "missing":
        path.write_text("" if library == "empty" else "no library")
    lines = python(BAD_LIBRARY, folder, ORT_DYLIB_PATH=str(path)).splitlines()
    assert lines
    printed = "\n".join(lines)
    assert printed.count("ONNX Runtime cannot be used: ") == 2, printed
    assert printed.count(f"Looked in: {path}") == 2, printed


FAKE_VERSION = """
const char *version(void) { return "1.10.0"; }
static const void *api(unsigned v) { return 0; }
static const struct { const void *(*get)(unsigned); const char *(*version)(void); } base = { api, version };
const void *OrtGetApiBase(void) { return &base; }
"""


def test_a_library_that_is_too_old(folder, tmp_path):
    source, library = tmp_path / "old.c", tmp_path / "libonnxruntime.so"
    source.write_text(FAKE_VERSION)
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no C compiler")
    printed = python(BAD_LIBRARY, folder, ORT_DYLIB_PATH=str(library))
    assert printed.count("ONNX Runtime cannot be used: ") == 2, printed
    assert printed.count("1.10.0") >= 1, printed


# --- pickles and processes


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_small_and_gives_the_same_rows(folder, protocol):
    model = Embedder(folder, truncate_dim=8, max_length=20, prompts={"query": "red "}, default_prompt_name="query")
    data = pickle.dumps(model, protocol)
    assert len(data) < 2000
    copy = pickle.loads(data)
    close(copy.encode(texts_of(1)), model.encode(texts_of(1)))
    assert pickle.dumps(copy, protocol) == data


FORK = """
import os, sys, threading
from ironvec import Embedder
model = Embedder(sys.argv[1])
texts = ["the cat sat", "a dog", ""] * 100
expected = model.encode(texts)
busy = "busy" in sys.argv
stop = threading.Event()
def work():
    while not stop.is_set(): model.encode(texts)
thread = threading.Thread(target=work, daemon=True)
if busy: thread.start()
children = []
for _ in range(8):
    child = os.fork()
    if child == 0:
        if "drop" in sys.argv:
            del model
        else:
            assert model.dimension == 32 and model.count_tokens("cat") == 3
            assert abs(model.encode(texts) - expected).max() < 1e-5
            other = Embedder(sys.argv[1])
            assert abs(other.encode(texts) - expected).max() < 1e-5
        sys.exit(0)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
stop.set()
if busy: thread.join()
assert abs(model.encode(texts) - expected).max() < 1e-5
print(codes)
"""


@needs_fork
@pytest.mark.parametrize("what", ["encode", "drop"])
@pytest.mark.parametrize("parent", ["idle", "busy"])
def test_forked_children_work_and_end(folder, parent, what):
    assert python(FORK, folder, parent, what) == f"{[0] * 8}\n"


def _encode(model: Embedder, texts: list[str]) -> np.ndarray:
    return model.encode(texts)


def test_spawned_processes_take_it_as_an_argument(model):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.starmap_async(_encode, [(model, texts_of(seed)) for seed in range(4)]).get(timeout=60)
    for seed, rows in enumerate(found):
        close(rows, model.encode(texts_of(seed)))
