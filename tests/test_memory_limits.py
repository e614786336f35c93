"""No memory: a MemoryError, which blames no sound file. In subprocesses, under a limit of address space."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from kit.checkpoints import write_bert
from kit.onnx_export import write_encoder_export

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the limits are measured from /proc/self/statm"),
]

START = """
import resource, sys
from ironvec import Embedder

def limit(megabytes):
    '''Leaves the process so much more than it has now.'''
    with open("/proc/self/statm") as sizes:
        pages = int(sizes.read().split()[0])
    most = pages * resource.getpagesize() + int(megabytes * 2**20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))

folder = sys.argv[1]
def attempt(call):
    try:
        call()
    except Exception as error:
        print(type(error).__name__, str(error)[:300].replace(folder, "FOLDER"))
    else:
        print("no error")
"""


SMALL_FIRST = """
# Libraries and threads are there before the limit is.
Embedder(folder + "/small", threads=1).encode("paris")
"""

UNDER_A_LIMIT = """
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]) << 20,) * 2)
attempt(lambda: Embedder(folder + "/large").encode(["the capital of france is paris"] * 100))
"""


def run(folder: Path, code: str, *arguments: object) -> str:
    command = [sys.executable, "-c", START + code, str(folder), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stderr[-2000:]}"
    return done.stdout.strip()


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A small checkpoint, one with wide layers, one of 230 MB, and that as an ONNX file with external data."""
    folder = tmp_path_factory.mktemp("models")
    write_bert(folder / "small", hidden=256)
    write_bert(folder / "wide", hidden=64, layers=1, intermediate=16384)
    large = write_bert(folder / "large", hidden=1024, layers=4, intermediate=4096)
    write_encoder_export(folder / "large" / "model.onnx", large, external_data=True)
    return folder


LOADS = {
    "mapped": ("large", "", 100, "to read FOLDER/large/model.safetensors: Cannot allocate memory"),
    "copied": ("large", ", memory_map=False", 100, "to read FOLDER/large/model.safetensors: Cannot allocate"),
    "int8": ("large", ', dtype="int8"', 100, "to read FOLDER/large/model.safetensors: Cannot allocate memory"),
    "an ONNX file": ("large/model.onnx", "", 100, "to open FOLDER/large/model.onnx: Exception during initialization"),
    "a copy that is too much": ("large", ", memory_map=False", 300, "to open FOLDER/large/model.safetensors: Exce"),
    "a copy that is too much beside a map": (
        "large/model.onnx", ", memory_map=False", 100, "for [0-9]+ bytes of weights of FOLDER/large/model.onnx_data",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("model", "options", "megabytes", "message"), LOADS.values(), ids=LOADS)
def test_a_model_that_does_not_fit(models, model, options, megabytes, message):
    code = f'limit({megabytes})\nattempt(lambda: Embedder(folder + "/{model}", threads=1{options}))'
    assert re.match(f"MemoryError not enough memory {message}", run(models, SMALL_FIRST + code))
    # It is the limit and nothing else.
    assert run(models, SMALL_FIRST + code.replace(f"limit({megabytes})", "limit(2000)")) == "no error"


@pytest.mark.parametrize("megabytes", [60, 100, 150, 200, 250, 300, 350, 400, 450])
def test_limits_from_the_start(models, megabytes):
    found = run(models, UNDER_A_LIMIT, megabytes)
    # The loader does not say why it cannot map a library, which need not be for want of memory.
    library = "ProviderError .*failed to map segment" if megabytes < 200 else "no error"
    assert re.match(f"MemoryError not enough memory to |no error|{library}", found), found


ROWS = {
    "rows": ("encode(texts)", 100, "Unable to allocate 195"),
    "texts": ("tokenize(texts * 20)", 30, "not enough memory for 4000000 texts"),
}


@pytest.mark.parametrize(("call", "megabytes", "message"), ROWS.values(), ids=ROWS)
def test_a_call_that_does_not_fit(models, call, megabytes, message):
    load = 'model = Embedder(folder + "/small", threads=1)\nmodel.encode("paris")\ntexts = ["paris"] * 200_000\n'
    found = run(models, f"{load}limit({megabytes})\nattempt(lambda: model.{call})\nattempt(lambda: model.encode('a'))")
    first, second = found.splitlines()
    assert first.startswith(f"MemoryError {message}")
    assert second == "no error", "the model is of no use afterwards"


def test_a_run_that_does_not_fit(models):
    load = 'model = Embedder(folder + "/wide", threads=1)\nmodel.encode("paris")\n'
    texts = "['the capital of france is paris ' * 9 + str(n) for n in range(60)]"
    found = run(models, f"{load}texts = {texts}\nlimit(5)\nattempt(lambda: model.encode(texts, batch_size=60))")
    assert re.match(r"MemoryError not enough memory to run \d+ rows x \d+ tokens: Non-zero status", found), found
