"""What a checkpoint's matrix products cost: ONNX Runtime's operators in float32 against kernels of ironvec's own.

    python benches/products.py FOLDER [--ways low,bfloat16,int8] [--rounds 5] [--texts 32]

FOLDER is a checkpoint: that of `make_qwen3.py`, or any other. A way is `low` (float32, `memory="low"`), `fast` (as
ironvec comes) or a dtype; each is a process, and so is ONNX Runtime (`IRONVEC_KERNELS=onnxruntime`). First some load
the model and embed one query, from a warm page cache: seconds of loading, and what of their memory is their own and
what are pages of the files, which processes share. Then they work in turns: a query, TEXTS queries, TEXTS documents of
about 40 tokens, one of about 500. A ratio is the median of pairwise ones, above 1 where the way is faster.
`IRONVEC_KERNELS` forces a path of the kernels.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from environments import BENCH
from measure import vectors
from qwen3 import QUERY, SENTENCE
from report import processor
from workers import OURS, Peer, Worker, take_turns

WAYS: Mapping[str, Mapping[str, str]] = {
    "fast": {},
    "low": {"memory": "low"},
    "bfloat16": {"dtype": "bfloat16"},
    "int8": {"dtype": "int8"},
}
THEIRS = {"IRONVEC_KERNELS": "onnxruntime"}
LOAD = """
import json, sys, time
from ironvec import Embedder

def resident():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return [int(lines[field].split()[0]) / 1e6 for field in ("RssAnon", "RssFile")]

before, start = resident(), time.perf_counter()
model = Embedder(sys.argv[1], **json.loads(sys.argv[2]))
seconds = time.perf_counter() - start
model.encode_query("capital of China?")
kernels = model.device_report()["kernels"]
print(json.dumps([kernels, seconds, *(after - first for after, first in zip(resident(), before))]))
"""


def loading(folder: str, name: str, options: Mapping[str, str], environment: Mapping[str, str], rounds: int) -> None:
    run = [sys.executable, "-c", LOAD, folder, json.dumps(dict(options))]
    ran = [
        json.loads(subprocess.run(run, check=True, stdout=subprocess.PIPE, env={**os.environ, **environment}).stdout)
        for _ in range(rounds)
    ]
    seconds, own, pages = (statistics.median(answer[at] for answer in ran) for at in (1, 2, 3))
    print(f"{name:12} {ran[0][0]:32} {seconds:6.2f} s   own {own:5.2f} GB   pages of files {pages:5.2f} GB")


def write_texts(count: int) -> tuple[dict[str, list[str]], Path]:
    """The texts by name, and the file that workers read them from."""
    words = SENTENCE.split()
    texts = {
        "query": [QUERY],
        "queries": [f"{QUERY} {index}" for index in range(count)],
        "documents": [f"{' '.join(words[index % 20 :] + words[: index % 20])} {index}" for index in range(count)],
        "long": [" ".join(words * 13)],
    }
    BENCH.mkdir(exist_ok=True)
    path = BENCH / "texts-products.json"
    path.write_text(json.dumps(texts), encoding="utf-8")
    return texts, path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--ways", default="low,int8", type=lambda names: names.split(","))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=32)
    options = parser.parse_args()
    print(processor())
    loading(options.folder, "onnxruntime", {}, THEIRS, options.rounds)
    for way in options.ways:
        loading(options.folder, way, WAYS[way], {}, options.rounds)

    texts, path = write_texts(options.texts)
    shared = {"folder": options.folder, "texts": str(path)}
    # Ratios are of the one called ours to the others: here ONNX Runtime's.
    peers = [Peer(OURS, Path(sys.executable), "serve_ironvec.py", shared, THEIRS)]
    peers += [Peer(way, Path(sys.executable), "serve_ironvec.py", {**shared, **WAYS[way]}) for way in options.ways]
    workers = [Worker(peer) for peer in peers]
    print(f"{'':10}" + "".join(f"{name:>22}" for name in ["onnxruntime", *options.ways]))
    least: dict[str, tuple[float, float]] = {}
    for name in texts:
        role = "query" if name.startswith("quer") else "document"
        for worker in workers:
            worker.encode(name, role)
        expected = vectors(workers[0])
        for worker in workers[1:]:
            found = vectors(worker)
            cosine, difference = float((found * expected).sum(-1).min()), float(np.abs(found - expected).max())
            before = least.get(worker.name, (1.0, 0.0))
            least[worker.name] = (min(before[0], cosine), max(before[1], difference))
        taken = take_turns(workers, options.rounds, lambda worker, name=name, role=role: worker.encode(name, role))
        ours = statistics.median(taken[options.ways[0]].ours) * 1000
        others = [(statistics.median(taken[way].theirs) * 1000, 1 / taken[way].ratio) for way in options.ways]
        row = [f"{ours:.0f} ms", *(f"{theirs:.0f} ms  {ratio:.2f} x" for theirs, ratio in others)]
        print(f"{name:10}" + "".join(f"{cell:>22}" for cell in row), flush=True)
    for way, (cosine, difference) in least.items():
        print(f"{way}: vectors differ by {difference:.1e} at most, least cosine {cosine:.6f}")
    for worker in workers:
        worker.close()


if __name__ == "__main__":
    main()
