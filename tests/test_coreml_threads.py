"""Threads while a bucket opens: who needs another goes on, and who asks for the provider's name waits for nothing."""

import os
import subprocess
import sys

import pytest

from kit.checkpoints import write_bert

# The opening reads the graph that an earlier run has left. Here that is a pipe: it lasts until the test ends it.
CODE = """
import os, sys, threading, time
from pathlib import Path
from ironvec import Embedder

model = Embedder(sys.argv[1], provider="coreml-on-cpu")
(entry,) = (path for path in Path(os.environ["IRONVEC_CACHE"], "coreml").iterdir() if path.is_dir())
os.mkfifo(entry / "128.onnx")
found = {}

def long(thread):
    found[thread] = model.encode("paris " * 90)

threads = [threading.Thread(target=long, args=(thread,), daemon=True) for thread in range(3)]
for thread in threads:
    thread.start()
while True:
    try:
        pipe = os.open(entry / "128.onnx", os.O_WRONLY | os.O_NONBLOCK)
        break
    except OSError:  # nobody reads yet
        time.sleep(0.01)
for _ in range(20):
    assert model.provider == "coreml-on-cpu"
    assert model.device_report()["open_buckets"] == [64]
    assert model.encode("paris").shape == (32,)
assert not found
os.close(pipe)
for thread in threads:
    thread.join(60)
assert len(found) == 3 and all((rows == found[0]).all() for rows in found.values())
assert model.device_report()["open_buckets"] == [64, 128]
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_bucket_that_opens_holds_up_nobody_else(tmp_path):
    folder = write_bert(tmp_path / "bert", max_positions=200).folder
    environment = {**os.environ, "IRONVEC_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", CODE, str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert run.stdout == "done\n", run.stderr[-2000:]
