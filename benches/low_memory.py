"""`memory="low"` against `memory="fast"`, of one build, in turns.

    python benches/low_memory.py FOLDER [--rounds 5] [--texts 32]

FOLDER is a checkpoint: that of `make_qwen3.py`, or any other. A process each loads the model and embeds one query, from
a warm page cache: seconds of loading, and what of its memory is its own and what are pages of the files, which
processes share. Then a query, TEXTS queries and TEXTS documents of about 30 tokens in one process. Ratios are medians
of pairwise ones, low to fast: below 1 where "low" takes less. `IRONVEC_KERNELS` forces a path of the kernels.
"""

import argparse
import statistics
import subprocess
import sys

import numpy as np
from qwen3 import QUERY, SENTENCE
from report import processor
from turns import compare

from ironvec import Embedder

LOAD = """
import sys, time
from ironvec import Embedder

def resident():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return [int(lines[field].split()[0]) / 1e6 for field in ("RssAnon", "RssFile")]

before, start = resident(), time.perf_counter()
model = Embedder(sys.argv[1], memory=sys.argv[2])
seconds = time.perf_counter() - start
model.encode_query("capital of China?")
print(seconds, *(after - first for after, first in zip(resident(), before)))
"""
WAYS = ("low", "fast")


def loading(folder: str, rounds: int) -> None:
    kept: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    for way in WAYS * rounds:
        run = [sys.executable, "-c", LOAD, folder, way]
        printed = subprocess.run(run, check=True, capture_output=True, text=True).stdout
        kept[way].append([float(word) for word in printed.split()])
    low, fast = ([statistics.median(column) for column in zip(*kept[way], strict=True)] for way in WAYS)
    ratio = statistics.median(one[0] / other[0] for one, other in zip(*kept.values(), strict=True))
    print(f"load                 {low[0]:8.2f} s    {fast[0]:8.2f} s    ratio {ratio:.3f}")
    for name, at in (("memory of its own", 1), ("pages of files", 2)):
        print(f"{name:20} {low[at]:8.2f} GB   {fast[at]:8.2f} GB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=32)
    options = parser.parse_args()
    low, fast = (Embedder(options.folder, memory=way) for way in WAYS)
    print(f"{processor()}, kernels {low.device_report()['kernels']}")
    print(f"{'':20} {'low':>8}      {'fast':>8}")
    loading(options.folder, options.rounds)
    words = SENTENCE.split()
    queries = [f"{QUERY} {index}" for index in range(options.texts)]
    documents = [f"{' '.join(words[index % 20 :] + words[: index % 20])} {index}" for index in range(options.texts)]
    difference = 0.0
    for name, ask in {
        "query": lambda model: model.encode_query(QUERY),
        f"{options.texts} queries": lambda model: model.encode_query(queries),
        f"{options.texts} documents": lambda model: model.encode_document(documents),
    }.items():
        difference = max(difference, float(np.abs(ask(low) - ask(fast)).max()))
        ours, theirs, ratio = compare(lambda ask=ask: ask(low), lambda ask=ask: ask(fast), options.rounds)
        print(f"{name:20} {ours * 1000:8.0f} ms   {theirs * 1000:8.0f} ms   ratio {ratio:.3f}")
    print(f"vectors differ by {difference:.1e} at most")


if __name__ == "__main__":
    main()
