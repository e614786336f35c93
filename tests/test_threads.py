"""One Embedder, ten threads, and whatever they ask of it at once: the results of one thread, no error, no hang. With
the GIL and, in free-threaded builds, without it."""

import pickle
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from ironvec import Embedder
from kit.interpreter import python
from kit.texts import TEXTS
from kit.vectors import close

THREADS = 10
without_gil = pytest.mark.skipif(
    getattr(sys, "_is_gil_enabled", lambda: True)(), reason="the interpreter has a GIL, and it is on"
)


def together(works: list[Callable[[], object]]) -> list[object]:
    """What they return, each from a thread of its own; all begin at once."""
    barrier, futures = threading.Barrier(len(works)), [Future[object]() for _ in works]

    def begin(work: Callable[[], object], future: Future[object]) -> None:
        try:
            barrier.wait(timeout=120)
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    for work, future in zip(works, futures, strict=True):
        threading.Thread(target=begin, args=(work, future), daemon=True).start()
    return [future.result(timeout=240) for future in futures]


@without_gil
def test_the_gil_stays_off(folder):
    code = """
import sys, ironvec, ironvec.bulk, ironvec.cli
ironvec.Embedder(sys.argv[1]).encode(["cat", "dog"])
ironvec.inspect(sys.argv[1])
print(sys._is_gil_enabled())
"""
    assert python(code, folder) == "False\n"


def into_own_array(model: Embedder) -> np.ndarray:
    rows = np.empty((len(TEXTS), model.dimension), np.float32)
    assert model.encode(TEXTS, out=rows) is rows
    return rows


# Rows first, then what is compared with `==`.
QUESTIONS: list[Callable[[Embedder], object]] = [
    lambda model: model.encode(TEXTS),
    lambda model: model.encode(TEXTS, batch_size=3, normalize_embeddings=False),
    lambda model: model.encode(TEXTS, truncate_dim=8, max_length=5),
    lambda model: model.encode_query(TEXTS, prompt="red "),
    lambda model: np.concatenate(list(model.encode_iter(iter(TEXTS), chunk=7))),
    into_own_array,
    lambda model: pickle.loads(pickle.dumps(model)).encode(TEXTS[:5]),
    lambda model: model.similarity(model.encode(TEXTS[:5]), model.encode(TEXTS[5:9])),
    lambda model: (repr(model), model.prompts, model.model_id, model.dimension, model.max_length),
    lambda model: (model.device_report(), model.tokenize(TEXTS), model.count_tokens(TEXTS).tolist()),
]


def test_ten_threads_ask_for_ten_things(model):
    expected = [question(model) for question in QUESTIONS]

    def ask(thread: int) -> None:
        for turn in range(2 * len(QUESTIONS)):
            number = (thread + turn) % len(QUESTIONS)
            found = QUESTIONS[number](model)
            if isinstance(found, np.ndarray):
                close(found, expected[number])
            else:
                assert found == expected[number]

    together([lambda thread=thread: ask(thread) for thread in range(THREADS)])


def test_a_list_that_another_thread_changes(model):
    texts, stop = ["a cat", "red"] * 20, threading.Event()
    known = model.encode(["a cat", "red"])

    def change() -> None:
        while not stop.is_set():
            texts.extend(["a cat", "red"] * 20)
            del texts[20:]

    changer = threading.Thread(target=change)
    changer.start()
    try:
        for _ in range(200):
            rows = model.encode(texts)
            distances = np.abs(rows[:, None] - known[None]).max(axis=2).min(axis=1)
            assert len(rows) >= 20
            assert distances.max() < 1e-5
            assert len(model.count_tokens(texts)) >= 20
    finally:
        stop.set()
        changer.join()


def test_one_array_that_ten_threads_fill(model, rows):
    shared = np.empty((len(TEXTS), model.dimension), np.float32)

    def fill() -> bool:
        try:
            model.encode(TEXTS, out=shared)
        except ValueError as error:
            assert "not in use" in str(error)  # noqa: PT017 (most threads are refused, but not all)
            return False
        return True

    assert any(together([fill] * THREADS))
    close(shared, rows)


def test_ten_threads_load(folder, rows):
    def load() -> np.ndarray:
        return Embedder(folder, threads=1).encode(TEXTS)

    for found in together([load] * THREADS):
        close(found, rows)


INTERRUPTED = """
import _thread, signal, sys, threading
from ironvec import Embedder
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job is started with it ignored
model = Embedder(sys.argv[1])
texts = [f"the cat sat on mat {number} " * 20 for number in range(20000)]
stop, failed = threading.Event(), []
def work():
    try:
        while not stop.is_set(): model.encode(texts[:50])
    except BaseException as error: failed.append(error)
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
threading.Timer(0.5, _thread.interrupt_main).start()
try:
    model.encode(texts)
    print("not heard")
except KeyboardInterrupt:
    stop.set()
for thread in threads: thread.join()
print(failed, model.encode("cat").shape)
"""


def test_ctrl_c_stops_the_main_thread_alone(folder: Path):
    assert python(INTERRUPTED, folder) == "[] (32,)\n"
