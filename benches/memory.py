"""Memory while ironvec works: beyond the result, over repetitions, and after a burst of long texts.

    python benches/memory.py [model] [--texts 100000] [--repeated 5000] [--part job]

Three processes, each reading its own /proc/self/status (Linux), the most that was resident being set back by
/proc/self/clear_refs before the part that counts:
  job      the peak while so many mixed texts are encoded (the docstrings' paragraphs, none twice, each with a number of
           its own), above what was resident before, less the result array;
  repeat   what is resident after each of ten equal jobs: it must not grow from the 2nd to the 10th;
  burst    256 texts of 256 tokens, the model's most, then short ones: before, at most, and after.
The list of texts is made before; it is the caller's. A hundred thousand texts take about seven minutes on two cores.
"""

import argparse
import gc
import json
import subprocess
import sys
import time
from pathlib import Path

import docstrings
import targets
from environments import BENCH

from ironvec import Embedder

sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))

from protocol import memory_mb

GROWTH_MB = 5.0  # allocators and page tables breathe by a few megabytes
REPETITIONS = 10
LONG_TEXTS, SHORT_TEXTS = 256, 1024


def restart_peak() -> None:
    """Lets the most resident begin anew at what is resident now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def verdict(value: float, limit: float) -> str:
    return f"(at most {limit:.0f} MB) {'ok' if value <= limit else 'SHORT'}"


def mixed(texts: list[str], count: int) -> list[str]:
    return [f"{texts[index % len(texts)]} {index}" for index in range(count)]


def job(model: Embedder, texts: docstrings.Texts, count: int) -> None:
    rows = mixed(texts.mixed, count)
    model.encode(texts.short[:4])
    gc.collect()
    before = memory_mb()["resident_mb"]
    restart_peak()
    start = time.perf_counter()
    vectors = model.encode(rows)
    seconds = time.perf_counter() - start
    now = memory_mb()
    result = vectors.nbytes / 1e6
    extra = now["at_most_mb"] - before - result
    print(f"job: {count} mixed texts in {seconds:.0f} s, {count / seconds:.0f} texts/s")
    print(f"  resident before {before:.0f} MB, at most {now['at_most_mb']:.0f} MB, the result {result:.0f} MB")
    print(f"  beyond the result {extra:.0f} MB {verdict(extra, targets.EXTRA_MB)}")


def repeat(model: Embedder, texts: docstrings.Texts, count: int) -> None:
    rows = mixed(texts.mixed, count)
    resident = []
    for _ in range(REPETITIONS):
        model.encode(rows)
        gc.collect()
        resident.append(memory_mb()["resident_mb"])
    growth = resident[-1] - resident[1]
    print(f"repeat: resident after each of {REPETITIONS} jobs of {count} mixed texts")
    print("  " + " ".join(f"{value:.0f}" for value in resident) + " MB")
    print(f"  from the 2nd to the last {growth:+.1f} MB {verdict(growth, GROWTH_MB)}")


def burst(model: Embedder, texts: docstrings.Texts, _: int) -> None:
    model.encode(texts.short)
    gc.collect()
    before = memory_mb()["resident_mb"]
    restart_peak()
    long_texts = [f"{index} " + " ".join(texts.mixed[index : index + 64]) for index in range(LONG_TEXTS)]
    model.encode(long_texts)
    after_long = memory_mb()
    for _ in range(3):
        model.encode(texts.short[:SHORT_TEXTS])
    gc.collect()
    after = memory_mb()["resident_mb"]
    print(f"burst: {LONG_TEXTS} texts of {model.max_length} tokens, then short ones")
    print(f"  resident before {before:.0f} MB, at most {after_long['at_most_mb']:.0f} MB, ", end="")
    print(f"after the long ones {after_long['resident_mb']:.0f} MB, after the short ones {after:.0f} MB")


PARTS = {"job": job, "repeat": repeat, "burst": burst}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="minilm")
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--repeated", type=int, default=5_000)
    parser.add_argument("--part", choices=PARTS, action="append", help="only this one; may be given again")
    parser.add_argument("--run", choices=PARTS, help=argparse.SUPPRESS)  # a part, in this process
    options = parser.parse_args()
    texts_file = BENCH / "texts-memory.json"
    if options.run is None:
        # Here, so that counting tokens leaves nothing resident where memory is measured.
        texts = docstrings.choose(Embedder("minilm", max_length=512).count_tokens)
        BENCH.mkdir(exist_ok=True)
        texts_file.write_text(json.dumps(texts), encoding="utf-8")
        for part in options.part or PARTS:
            subprocess.run([sys.executable, __file__, *sys.argv[1:], "--run", part], check=True)
        return
    texts = docstrings.Texts(*json.loads(texts_file.read_text(encoding="utf-8")))
    model = Embedder(options.model)
    count = options.texts if options.run == "job" else options.repeated
    PARTS[options.run](model, texts, count)


if __name__ == "__main__":
    main()
