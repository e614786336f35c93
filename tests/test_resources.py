"""What an Embedder takes of the machine: the processors it may use, none while idle, and memory that comes back."""

import os
import sys

import pytest

from ironvec import Embedder
from kit.checkpoints import write_bert
from kit.interpreter import python
from kit.qwen3_checkpoints import write_qwen3

linux = pytest.mark.skipif(sys.platform != "linux", reason="read from /proc, or set with sched_setaffinity")

MEMORY = """
import sys
from ironvec import Embedder

def megabytes(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(field))

model = Embedder(sys.argv[1], max_length=16384)
model.encode("paris")
before = megabytes("VmRSS")
model.encode("the capital of france is paris " * 4000)
print(before, megabytes("VmHWM"), megabytes("VmRSS"))
"""

IDLE = """
import sys, time
from ironvec import Embedder

model = Embedder(sys.argv[1], threads=4)
model.encode([f"paris {number}" for number in range(500)])
time.sleep(0.2)
start = time.process_time()
time.sleep(1)
print(time.process_time() - start)
"""

THREADS = """
import os, sys
from ironvec import Embedder

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
print(Embedder(sys.argv[1]).device_report()["threads"])
"""


def numbers(code: str, folder: os.PathLike[str]) -> list[float]:
    return [float(word) for word in python(code, folder, timeout_s=120).split()]


@pytest.mark.slow
@linux
def test_the_memory_of_a_long_text_comes_back(tmp_path, monkeypatch):
    folder = write_qwen3(tmp_path / "qwen3", max_positions=16384).folder
    if "attention" in Embedder(folder).device_report()["kernels"]:
        before, most, _ = numbers(MEMORY, folder)
        assert most - before < 100, "no matrix of scores"
    monkeypatch.setenv("IRONVEC_KERNELS", "onnxruntime")
    before, most, after = numbers(MEMORY, folder)
    assert most - before > 200, "the text was not long enough to show anything"
    assert after - before < 0.3 * (most - before)


@pytest.mark.slow
def test_an_idle_embedder_costs_nothing(tmp_path):
    (busy,) = numbers(IDLE, write_bert(tmp_path / "bert").folder)
    assert busy < 0.1


@linux
def test_threads_follow_the_affinity_mask(tmp_path):
    assert numbers(THREADS, write_bert(tmp_path / "bert").folder) == [1]
