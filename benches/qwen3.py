"""Qwen3-Embedding at true size: loading, the prompt's cache, and the lean graph against an export's.

    python benches/make_qwen3.py FOLDER --tokenizer tokenizer.json --export     # once: random weights, true shape
    python benches/qwen3.py FOLDER [--rounds 9]

Pairs are interleaved in one process and reported as the median of the pairwise ratios; loading is measured in processes
of its own, with the memory that is resident afterwards and at most.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
from importlib.metadata import version

import numpy as np
from turns import compare

from ironvec import Embedder

LOAD = """
import sys, time
from ironvec import Embedder
start = time.perf_counter()
model = Embedder(sys.argv[1])
seconds = time.perf_counter() - start
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(seconds, *(int(status[field].split()[0]) / 1e6 for field in ("VmRSS", "VmHWM")))
"""
QUERY = "What is the capital city of the People's Republic?"
SENTENCE = (
    "The ferry to the island leaves twice a day when the weather allows it, and it takes about an hour to cross "
    "the strait between them on a calm day in the summer"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    packages = ", ".join(f"{name} {version(name)}" for name in ("ironvec", "numpy", "onnxruntime"))
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, {packages}")

    loads = []
    for _ in range(3):
        printed = subprocess.run(
            [sys.executable, "-c", LOAD, options.folder], check=True, capture_output=True, text=True
        )
        loads.append([float(word) for word in printed.stdout.split()])
    took, resident, highest = (statistics.median(column) for column in zip(*loads, strict=True))
    print(f"load {took:.1f} s (at most 6)   resident {resident:.2f} GB, at most {highest:.2f} GB (at most 2.3)")

    model = Embedder(options.folder)
    prompt = model.prompts["query"]
    tokens = model.count_tokens([QUERY, prompt + QUERY])

    def cached() -> object:
        return model.encode_query(QUERY)

    def uncached() -> object:
        # One row and no prompt argument: nothing to share.
        return model.encode(prompt + QUERY, prompt="")

    difference = np.abs(model.encode_query(QUERY) - model.encode(prompt + QUERY, prompt="")).max()
    ours, theirs, ratio = compare(cached, uncached, options.rounds)
    print(
        f"one query, {tokens[0]} tokens after the instruction's {tokens[1] - tokens[0]}: {ours * 1000:.0f} ms, "
        f"without the prompt cache {theirs * 1000:.0f} ms, ratio {ratio:.2f} (at most 0.45), "
        f"difference {difference:.0e}"
    )

    export = os.path.join(options.folder, "onnx", "model.onnx")
    if not os.path.exists(export):
        print("no onnx/model.onnx there: the export's graph is not compared")
        return
    exported = Embedder(options.folder, file_name="onnx/model.onnx")
    words = SENTENCE.split()
    texts = [" ".join(words[index:] + words[:index]) for index in range(64)]
    texts = [text for text, count in zip(texts, model.count_tokens(texts), strict=True) if count >= 20][:8]
    length = min(32, model.count_tokens(texts).min())
    for one in (model, exported):
        one.encode(texts, max_length=int(length))
    ours, theirs, ratio = compare(
        lambda: model.encode(texts, max_length=int(length)),
        lambda: exported.encode(texts, max_length=int(length)),
        options.rounds,
    )
    difference = np.abs(model.encode(texts) - exported.encode(texts)).max()
    print(
        f"{len(texts)} x {length} tokens: {ours * 1000:.0f} ms, the export's graph {theirs * 1000:.0f} ms, "
        f"ratio {ratio:.2f} (at most 0.95), difference {difference:.0e}"
    )


if __name__ == "__main__":
    main()
