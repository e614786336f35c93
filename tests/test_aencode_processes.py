"""`aencode` where loops, threads and processes end: nobody hangs. What could, runs in a subprocess with a timeout."""

import asyncio
import gc
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

from ironvec import Embedder
from kit.vectors import close

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def words(count: int) -> list[str]:
    return [f"the cat sat on the mat {number}" for number in range(count)]


def quiet(code: str, *arguments: object) -> None:
    """Runs a program that prints nothing and ends well. 60 s are what the end waits for a run at most."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, timeout=100, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr[-2000:]) == (0, "", "")


def test_loops_of_ten_threads_share_one_embedder(model):
    texts = words(60)
    expected = model.encode(texts)
    found: dict[int, np.ndarray] = {}

    async def main():
        return np.stack(await asyncio.gather(*map(model.aencode, texts)))

    def work(thread: int) -> None:
        for _ in range(3):
            found[thread] = asyncio.run(main())

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(found) == 10
    for rows in found.values():
        close(rows, expected)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_closed_in_the_middle_disturbs_nobody(model):
    begun = threading.Event()

    class Watched(Embedder):
        def _encode_rows(self, rows, **checked):
            begun.set()
            return super()._encode_rows(rows, **checked)

    model = Watched(model.model_id)
    for wait in (True, False):
        begun.clear()
        loop = asyncio.new_event_loop()
        tasks = [loop.create_task(model.aencode(words(300))) for _ in range(3)]
        if wait:
            while not begun.is_set():
                loop.run_until_complete(asyncio.sleep(0.001))
        else:
            # Its callers are in line, and what would have them computed is not called any more.
            loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        rows = asyncio.run(asyncio.wait_for(model.aencode(words(5)), 30))
        close(rows, model.encode(words(5)))
        del tasks
    gc.collect()


def test_it_pickles_while_callers_wait(model):
    async def main():
        task = asyncio.ensure_future(model.aencode(words(200)))
        await asyncio.sleep(0)
        copy = pickle.loads(pickle.dumps(model))
        close(await copy.aencode("cat"), model.encode("cat"))
        await task

    asyncio.run(main())


def test_its_thread_ends(model):
    asyncio.run(model.aencode("cat"))
    for thread in threading.enumerate():
        if thread.name == "ironvec-aencode":
            thread.join(timeout=30)
            assert not thread.is_alive()


FORK = """
import asyncio, os, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from ironvec import Embedder
model = Embedder(sys.argv[1])
texts = ["the cat sat", "a dog", ""] * 50
expected = model.encode(texts)
async def rows():
    *made, listed = await asyncio.gather(*map(model.aencode, texts), model.aencode(texts))
    assert abs(listed - expected).max() < 1e-5
    assert max(abs(one - other).max() for one, other in zip(made, expected)) < 1e-5
stop = threading.Event()
def work():
    while not stop.is_set(): asyncio.run(rows())
thread = threading.Thread(target=work, daemon=True)
thread.start()
children = []
for _ in range(8):
    child = os.fork()
    if child == 0:
        asyncio.run(rows())
        sys.exit(0)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
stop.set()
thread.join()
assert codes == [0] * 8, codes
"""


@needs_fork
def test_forked_children_have_queues_of_their_own(folder):
    quiet(FORK, folder)


EXIT = """
import asyncio, sys, threading, time
import numpy as np
from ironvec import Embedder
model = Embedder(sys.argv[1], threads=1)
texts = ["the cat sat on the mat " * 40 + str(number) for number in range(20000)]
async def main():
    out = np.zeros((len(texts), 32), np.float32) if sys.argv[3] == "whole" else None
    tasks = [asyncio.ensure_future(model.aencode(texts, out=out)) for _ in range(3)]
    await asyncio.wait(tasks, timeout=0.3)
    if sys.argv[2] == "leave": return
    if sys.argv[2] == "exit": sys.exit(0)
    await asyncio.sleep(60)
if sys.argv[2] == "daemon":
    threading.Thread(target=lambda: asyncio.run(main()), daemon=True).start()
    time.sleep(0.5)
else:
    asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["leave", "exit", "daemon"])
@pytest.mark.parametrize("calls", ["in parts", "whole"])
def test_a_process_ends_while_callers_wait(folder, how, calls):
    for _ in range(3):
        quiet(EXIT, folder, how, calls)


LAST_WORDS = """
import asyncio, atexit, sys
from ironvec import Embedder
model = Embedder(sys.argv[1])
def last_words():
    try:
        assert asyncio.run(model.aencode("cat")).shape == (32,)
    except RuntimeError as error:
        assert "thread" in str(error), error
atexit.register(last_words)
"""


def test_atexit_functions_get_a_result_or_an_error(folder):
    # From CPython 3.12 on no thread starts once the interpreter has begun to end.
    quiet(LAST_WORDS, folder)


INTERRUPTED = """
import _thread, asyncio, signal, sys, threading
from ironvec import Embedder
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job is started with it ignored
model = Embedder(sys.argv[1])
texts = ["the cat sat on the mat " * 40 + str(number) for number in range(20000)]
async def main():
    asyncio.get_running_loop().call_later(0.2, _thread.interrupt_main)
    await model.aencode(texts)
try:
    asyncio.run(main())
except KeyboardInterrupt:
    rows = asyncio.run(model.aencode(texts[:3]))
    assert rows.shape == (3, 32)
    sys.exit(0)
sys.exit("not interrupted")
"""


def test_ctrl_c_ends_the_wait(folder):
    quiet(INTERRUPTED, folder)
