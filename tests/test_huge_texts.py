"""Texts of many megabytes: exact tokens, in the time that their row needs, and Ctrl-C heard meanwhile."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ironvec import Embedder
from kit.checkpoints import write_bert

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")

WORDS = [
    "cat",
    "sat,",
    "on",
    "The",
    "mat.",
    "I'm",
    "naïve",
    "中国",
    "к",
    "e\u0301",
    "x" * 120,
    "👩\u200d🚀",
    "[MASK]",
    "a\u00adb",
    "3.14",
]
GAPS = [" ", " ", " ", " ", "\n", "  ", "\t", " \n ", "\u3000", "\u00a0"]


def long_text(seed: int, words: int) -> tuple[str, list[str]]:
    random = np.random.default_rng(seed)
    chosen = [WORDS[index] for index in random.integers(len(WORDS), size=words)]
    gaps = [GAPS[index] for index in random.integers(len(GAPS), size=words)]
    return "".join(gap + word for gap, word in zip(gaps, chosen, strict=True)), chosen


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_bert(tmp_path_factory.mktemp("huge")).folder


@pytest.mark.parametrize("seed", range(5))
def test_a_long_text_has_the_tokens_of_its_words(minilm, seed):
    text, words = long_text(seed, 30_000)
    assert len(text) > 100_000, "too short to be taken in pieces"
    tokens = {word: minilm.tokenize(word)[1:-1] for word in WORDS}
    expected = [token for word in words for token in tokens[word]]
    ids = minilm.tokenize(text)
    assert ids[1:-1] == expected[: len(ids) - 2]
    assert len(ids) == minilm.max_length
    assert minilm.count_tokens(text) == len(expected) + 2


def test_a_text_cut_at_its_start_keeps_its_last_tokens(bert):
    checkpoint = bert()
    (checkpoint.folder / "tokenizer_config.json").write_text('{"truncation_side": "left"}')
    model = Embedder(checkpoint.folder)
    text, words = long_text(9, 30_000)
    expected = [token for word in words[-64:] for token in model.tokenize(word)[1:-1]]
    assert model.tokenize(text)[1:-1] == expected[-(model.max_length - 2) :]


def test_the_rest_of_a_long_text_costs_nothing(minilm):
    text = "the cat sat on the mat " * 400_000
    start = time.perf_counter()
    counted = minilm.count_tokens(text)
    whole = time.perf_counter() - start
    start = time.perf_counter()
    minilm.tokenize(text)
    assert time.perf_counter() - start < whole / 4
    assert counted == 400_000 * 6 + 2


def test_an_error_says_how_long_the_text_is(minilm):
    model = Embedder("minilm", on_truncate="error")
    text = "the cat sat on the mat " * 20_000
    with pytest.raises(ValueError, match=r"texts\[1\] has 120002 tokens, more than max_length=256"):
        model.encode(["cat", text])


def test_short_and_long_texts_of_one_call(minilm):
    texts = ["a cat", long_text(3, 40_000)[0], "", long_text(4, 40_000)[0], "paris"]
    rows = minilm.encode(texts)
    np.testing.assert_allclose(rows, np.stack([minilm.encode(text) for text in texts]), rtol=0, atol=1e-5)
    assert minilm.count_tokens(texts).tolist() == [minilm.count_tokens(text) for text in texts]


INTERRUPTED = """
import os, signal, sys, threading, time
from ironvec import Embedder
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job is started with it ignored
model = Embedder(sys.argv[1])
unit = sys.argv[3]
text = unit * ((16 << 20) // len(unit.encode()))
threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
start = time.perf_counter()
try:
    if sys.argv[2] == "encode":
        model.encode([text, text + "1"])
    elif sys.argv[2] == "prompt":
        model.encode(["cat"] * 9, prompt=text)
    else:
        getattr(model, sys.argv[2])([text] * 9)
except KeyboardInterrupt:
    print(time.perf_counter() - start)
    model.encode("cat")
    os._exit(0)
"""


@posix
# Of "cat sat " other methods tokenize the start alone, at once; "x😀" is one piece.
@pytest.mark.parametrize(
    ("method", "unit"),
    [("count_tokens", "cat sat "), ("count_tokens", "x😀"), ("encode", "x😀"), ("prompt", "x😀")],
    ids=ascii,
)
def test_ctrl_c_while_a_text_is_tokenized(folder, method, unit):
    arguments = [sys.executable, "-c", INTERRUPTED, str(folder), method, unit]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert 0.3 <= float(done.stdout) < 3, "a second, and more where the machine is busy"


def test_counting_holds_no_rows(folder):
    code = """
import resource, sys
from ironvec import Embedder
model = Embedder(sys.argv[1])
texts = ["cat sat on the mat " * 12] * 200_000
model.count_tokens(texts[:100])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model.count_tokens(texts)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code, str(folder)], check=True, capture_output=True, text=True)
    # 200,000 rows of 62 ids are 50 MB; the counts and the texts' addresses are 20.
    assert int(done.stdout) < 40 << 10


THREADLESS = """
import os, resource, sys
from ironvec import Embedder
model = Embedder(sys.argv[1], threads=4)
expected = model.encode("cat 7 sat on the mat")  # all is imported that this user may read and the next may not
os.setgid(65534), os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
if sys.argv[2] == "early":
    model = Embedder(sys.argv[1], threads=1)
rows = model.encode([f"cat {number} sat on the mat" for number in range(300)])
assert abs(rows[7] - expected).max() < 1e-5
assert model.count_tokens(["cat sat " * 50_000, "x" * 300_000]).tolist() == [100_002, 3]
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may become an ordinary user")
@pytest.mark.parametrize("when", ["early", "late"])
def test_no_more_threads_to_be_had(folder, when):
    for path in [*folder.parents, *folder.rglob("*"), folder]:
        if path.owner() == "root" and "pytest" in str(path):
            path.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", THREADLESS, str(folder), when], capture_output=True, text=True)
    assert done.stdout == "done\n", done.stderr
    assert "panicked" not in done.stderr
