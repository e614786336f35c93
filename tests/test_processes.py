"""Threads, forks, pickles, other users of ONNX Runtime in the process, and libraries that are not one. What could hang
or kill the interpreter runs in a subprocess with a timeout."""

import multiprocessing
import os
import pickle
import struct
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from ironvec import Embedder
from kit.checkpoints import write_bert

WORDS = "the capital of france is paris cook pasta in water a cat dog sat on mat red blue green".split()  # noqa: SIM905
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_bert(tmp_path_factory.mktemp("shared")).folder


@pytest.fixture(scope="module")
def model(folder) -> Embedder:
    return Embedder(folder)


def texts_of(seed: int) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, size)) for size in random.integers(0, 60, 100)]


def close(found, expected) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def python(code: str, *arguments: object, **environment: str) -> str:
    """What a new interpreter prints, which must end well and by itself."""
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    run = subprocess.run(command, timeout=60, capture_output=True, text=True, env={**os.environ, **environment})
    assert run.returncode == 0, f"exit status {run.returncode}\n{run.stderr[-2000:]}"
    return run.stdout


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
        before = len(turns)
        model.encode(texts)
        during = len(turns) - before
    finally:
        sys.setswitchinterval(interval)
        done.set()
        counter.join(timeout=10)
    assert during >= 5


# --- ONNX Runtime's own package in the same process


def _field(number: int, value: int | bytes | str) -> bytes:
    """One field of a protobuf message: a varint below 128, or bytes shorter than 128."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    data = value.encode() if isinstance(value, str) else value
    return bytes([number << 3 | 2, len(data)]) + data


def matmul_model() -> bytes:
    """ONNX: y (2, 2) = x (2, 2) @ w, w = [[1, 2], [3, 4]]."""
    dims = b"".join(_field(1, _field(1, 2)) for _ in range(2))
    kind = _field(1, _field(1, 1) + _field(2, dims))  # a tensor type: float32, shape (2, 2)
    weight = _field(1, 2) + _field(1, 2) + _field(2, 1) + _field(8, "w") + _field(9, struct.pack("<4f", 1, 2, 3, 4))
    node = _field(1, "x") + _field(1, "w") + _field(2, "y") + _field(4, "MatMul")
    values = [_field(number, _field(1, name) + _field(2, kind)) for number, name in ((11, "x"), (12, "y"))]
    graph = _field(1, node) + _field(2, "g") + _field(5, weight) + b"".join(values)
    return _field(1, 8) + _field(7, graph) + _field(8, _field(2, 13))


BESIDE_ONNXRUNTIME = """
import sys, threading
import numpy as np
folder, order, model = sys.argv[1], sys.argv[2], bytes.fromhex(sys.argv[3])
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
    assert python(BESIDE_ONNXRUNTIME, folder, order, matmul_model().hex(), tmp_path / "rows.npy") == "[]\n"
    close(np.load(tmp_path / "rows.npy"), model.encode(["the cat sat", "a dog", ""] * 50))


def test_import_loads_nothing_heavy():
    heavy = "torch transformers onnxruntime huggingface_hub tqdm".split()  # noqa: SIM905
    assert python(f"import sys, ironvec; print([name for name in {heavy} if name in sys.modules])") == "[]\n"


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
