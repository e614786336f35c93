"""The end of a process while its daemon threads encode, and forks between two chunks of an iterator: nothing is
printed, the exit status is the program's own, nobody hangs. Each case runs in subprocesses, several times: these are
races."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kit.checkpoints import write_bert
from kit.qwen3_checkpoints import write_qwen3

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    return {
        "bert": write_bert(tmp_path_factory.mktemp("bert") / "bert").folder,
        "qwen3": write_qwen3(tmp_path_factory.mktemp("qwen3") / "qwen3", layers=3, max_positions=20000).folder,
    }


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, timeout=60, capture_output=True, text=True)


def assert_quiet(done: subprocess.CompletedProcess[str], status: int = 0) -> None:
    assert (done.returncode, done.stdout, done.stderr[-2000:]) == (status, "", "")


DAEMONS = """
import sys, threading, time
from ironvec import Embedder
folder, work, status = sys.argv[1], sys.argv[2], int(sys.argv[3])
model = Embedder(folder, threads=1)
texts = ["the cat sat on the mat " * 40 + str(number) for number in range(300)]
def endlessly():
    while True:
        if work == "encode": model.encode(texts)
        elif work == "one": model.encode("paris")
        elif work == "iterate": list(model.encode_iter(iter(texts), chunk=8))
        elif work == "count": model.count_tokens(texts)
        elif work == "load": Embedder(folder)
        elif work == "pieces": model.encode("a b " * 4000)
for _ in range(4): threading.Thread(target=endlessly, daemon=True).start()
time.sleep(0.4)
sys.exit(status)
"""


@pytest.mark.parametrize(
    ("model", "work"),
    [
        ("bert", "encode"),
        ("bert", "one"),
        ("bert", "iterate"),
        ("bert", "count"),
        ("bert", "load"),
        ("qwen3", "pieces"),
    ],
)
def test_daemon_threads_end_quietly_with_the_process(folders, model, work):
    for status in (0, 3, 0, 0):
        assert_quiet(run(DAEMONS, folders[model], work, status), status)


HELD_UP = """
import sys, threading, time, warnings
import numpy
from ironvec import Embedder
entered = threading.Event()
def hold_up():
    # Without the GIL while the interpreter begins to end, and in need of it before it has ended.
    entered.set()
    time.sleep(0.3)
class Last:
    def __del__(self, sleep=time.sleep):
        sleep(1)
sys.last = Last()  # with what the interpreter clears last of all
model, on_truncate, progress = Embedder(sys.argv[1], max_length=4), "ignore", None
zeros = numpy.zeros
if sys.argv[2] == "allocation":
    numpy.zeros = lambda *arguments: hold_up() or zeros(*arguments)
elif sys.argv[2] == "warning":
    warnings.showwarning, on_truncate = lambda *_: hold_up(), "warn"
elif sys.argv[2] == "progress":
    progress = lambda _: hold_up()
work = lambda: model._encode_rows(["the cat sat on the mat"] * 40, on_truncate=on_truncate, progress=progress)
threading.Thread(target=work, daemon=True).start()
assert entered.wait(30)
sys.exit(3)
"""


@pytest.mark.parametrize("within", ["allocation", "warning", "progress"])
def test_a_thread_that_python_ends_within_a_call_of_rusts(folders, within):
    assert_quiet(run(HELD_UP, folders["bert"], within), 3)


LAST_WORDS = """
import atexit, sys, threading
stop, thread = threading.Event(), None
def last_words():
    # Runs after everything that ironvec could have registered; threads still answer, and may be waited for.
    rows = model.encode(["paris", "cat"])
    answered.clear()
    assert answered.wait(30), "the thread encodes no more"
    stop.set()
    thread.join(30)
    assert not thread.is_alive() and rows.shape == (2, 32)
atexit.register(last_words)
from ironvec import Embedder
model = Embedder(sys.argv[1])
answered = threading.Event()
def endlessly():
    while not stop.is_set():
        model.encode("the cat sat")
        answered.set()
thread = threading.Thread(target=endlessly, daemon=True)
thread.start()
assert answered.wait(30)
"""


def test_atexit_functions_encode_and_wait_for_threads(folders):
    assert_quiet(run(LAST_WORDS, folders["bert"]))


FORKED_ITERATOR = """
import os, sys, threading
from ironvec import Embedder
model = Embedder(sys.argv[1])
texts = ["the cat sat", "a dog", ""] * 100
expected = model.encode(texts)
stop = threading.Event()
def work():
    while not stop.is_set(): model.encode(texts)
thread = threading.Thread(target=work, daemon=True)
thread.start()
children = []
for _ in range(4):
    chunks = model.encode_iter(iter(texts), chunk=100)
    assert abs(next(chunks) - expected[:100]).max() < 1e-5
    child = os.fork()
    # Both go on, each with its own copy of what the iterator has read.
    rest = list(chunks)
    assert [len(rows) for rows in rest] == [100, 100]
    assert abs(rest[0] - expected[100:200]).max() < 1e-5
    if child == 0:
        sys.exit(0)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
stop.set()
thread.join()
sys.exit(0 if codes == [0] * 4 else f"children ended with {codes}")
"""


@needs_fork
def test_a_forked_child_goes_on_with_an_iterator(folders):
    # A fork beside threads is what is tested, and newer interpreters warn of it.
    done = run(
        f"import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n{FORKED_ITERATOR}", folders["bert"]
    )
    assert_quiet(done)
