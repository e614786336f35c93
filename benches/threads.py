"""What more threads gain: one process a number of threads, the same texts, in turns.

    python benches/threads.py MODEL [--memory low] [--dtype int8] [--threads 1,2] [--rounds 5] [--texts 32]

MODEL is a name or a folder. Texts are those of `products.py`: a query, TEXTS queries, TEXTS documents of about 40
tokens, one of about 500. A ratio is the median of pairwise ones: how many times as fast as with the
first number of threads.
"""

import argparse
import sys
from pathlib import Path

from products import write_texts
from report import processor
from workers import OURS, Peer, Worker, take_turns

from ironvec.resolve import resolve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--memory")
    parser.add_argument("--dtype")
    parser.add_argument("--threads", default="1,2", type=lambda text: [int(number) for number in text.split(",")])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=32)
    options = parser.parse_args()
    texts, path = write_texts(options.texts)
    chosen = {name: value for name in ("memory", "dtype") if (value := getattr(options, name))}
    shared = {"folder": str(resolve(options.model, local_files_only=True).folder), "texts": str(path), **chosen}
    # Ratios are of the one called ours to the others: here the first.
    names = [OURS, *(f"{threads} threads" for threads in options.threads[1:])]
    peers = [
        Peer(name, Path(sys.executable), "serve_ironvec.py", {**shared, "threads": threads})
        for name, threads in zip(names, options.threads, strict=True)
    ]
    workers = [Worker(peer) for peer in peers]
    print(f"{processor()}: times as fast as with threads={options.threads[0]}")
    print(f"{'':10}" + "".join(f"{name:>14}" for name in names[1:]))
    for name in texts:
        role = "query" if name.startswith("quer") else "document"
        for worker in workers:
            worker.encode(name, role)

        def measure(worker: Worker, name: str = name, role: str = role) -> float:
            return worker.encode(name, role)

        taken = take_turns(workers, options.rounds, measure)
        print(f"{name:10}" + "".join(f"{1 / taken[other].ratio:>12.2f} x" for other in names[1:]), flush=True)
    for worker in workers:
        worker.close()


if __name__ == "__main__":
    main()
