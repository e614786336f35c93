"""Attention and activations of our own against ONNX Runtime's, in one build: a model in two processes, in turns.

    python benches/attention.py [--model minilm] [--rounds 31]

256 texts of about 16 tokens, 256 mixed ones and 64 long ones (those of `compare.py`), then one text at a time. A ratio
is the median of the pairwise ratios of the rounds, above 1 where ours are faster. Products are ONNX Runtime's in both.
MODEL has MiniLM's vocabulary, and weights in float32: `make_bert.py` writes one of bge-small's shape.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

import docstrings
import numpy as np
from environments import BENCH
from measure import BLOCK, vectors
from report import processor
from workers import OURS, Peer, Worker, take_turns

from ironvec import Embedder
from ironvec.resolve import resolve

THEIRS = "onnxruntime"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--rounds", type=int, default=31)
    options = parser.parse_args()
    rounds = options.rounds
    folder = resolve(options.model, local_files_only=True).folder
    counter = Embedder(folder, max_length=512)
    if not counter.device_report()["kernels"].startswith(THEIRS):
        parser.error(f"{options.model}: products are not ONNX Runtime's here")
    chosen = docstrings.choose(counter.count_tokens)
    longest = sorted(chosen.mixed, key=len)[-64:]
    texts = {"short": chosen.short[:256], "mixed": chosen.mixed[:256], "long": longest, "one": chosen.one[:BLOCK]}
    BENCH.mkdir(exist_ok=True)
    path = BENCH / "texts-attention.json"
    path.write_text(json.dumps(texts), encoding="utf-8")
    ours = Peer(OURS, Path(sys.executable), "serve_ironvec.py", {"folder": str(folder), "texts": str(path)})
    theirs = ours._replace(name=THEIRS, environment={"IRONVEC_KERNELS": "onnxruntime"})
    print(f"{processor()}, kernels {counter.device_report()['kernels']}")
    with Worker(ours) as one, Worker(theirs) as other:
        difference = 0.0
        for name in ("short", "mixed", "long"):
            for worker in (one, other):
                worker.encode(name)
            difference = max(difference, float(np.abs(vectors(one) - vectors(other)).max()))
            taken = take_turns([one, other], rounds, lambda worker, name=name: worker.encode(name))
            print(f"{name:6} {taken[THEIRS].ratio:.3f} x")

        def calls(worker: Worker) -> float:
            answer = worker.ask("each", texts="one", **{"from": 0, "to": BLOCK})
            return statistics.median(answer["seconds"])

        print(f"one    {take_turns([one, other], rounds, calls)[THEIRS].ratio:.3f} x")
    print(f"vectors differ by {difference:.1e} at most")


if __name__ == "__main__":
    main()
