"""`encode_arrow` of an Arrow array beside `encode` of the list of the same texts: speed, Python objects, memory.

    python benches/arrow.py [model] [--compared 60000] [--rounds 7] [--rows 1000000]

Needs pyarrow. Without a model, tiny ones with random weights, so that whatever is not the model shows as much as it
can.
  speed   texts a second; in one process, in turns; the median of the pairwise ratios. From Arrow to Arrow, against
          `encode` of a list that is there, and against what one would do without: `to_pylist`, `encode`.
  memory  a million short strings through a static table, each way in a process of its own: the most Python objects
          beside those that were there before (`sys.getallocatedblocks`), and the most that was resident, less what was
          before and the vectors (Linux).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow
import pyarrow.compute
import targets
from bulk import write_lines
from report import processor
from turns import compare

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))

from protocol import memory_mb

from ironvec import Embedder
from kit.checkpoints import write_bert
from kit.families import CASES

WAYS = ("encode_arrow", "to_pylist and encode")


def column_of(path: Path) -> pyarrow.Array:
    """A file's lines, no string made of any."""
    block = path.read_bytes()
    lines = pyarrow.array([block], pyarrow.large_binary()).cast(pyarrow.large_string())
    return pyarrow.compute.split_pattern(lines, "\n").values[:-1].cast(pyarrow.string())


def speed(model_name: str, path: Path, rounds: int) -> None:
    model, texts = Embedder(model_name), column_of(path)
    rows = texts.to_pylist()
    print(f"speed: {len(rows):,} texts, {rounds} rounds")
    for name, theirs in {
        "encode of the list": lambda: model.encode(rows),
        WAYS[1]: lambda: model.encode(texts.to_pylist()),
    }.items():
        ours_s, theirs_s, ratio = compare(lambda: model.encode_arrow(texts), theirs, rounds)
        print(f"  encode_arrow {len(rows) / ours_s:,.0f} texts/s, {name} {len(rows) / theirs_s:,.0f} texts/s:", end=" ")
        print(f"{1 / ratio:.3f} ×", end=" ")
        print(f"(at least {targets.ARROW_RATE}) {'ok' if 1 / ratio >= targets.ARROW_RATE else 'SHORT'}")


def memory(model_name: str, path: Path, way: str) -> None:
    """One way, in this process."""
    model, texts = Embedder(model_name), column_of(path)
    blocks = []
    encode = Embedder._encode_rows

    def watched(self: Embedder, rows: object, **keywords: object) -> object:
        return encode(self, rows, **{**keywords, "progress": lambda _: blocks.append(sys.getallocatedblocks())})

    Embedder._encode_rows = watched
    model.encode_arrow(texts[:1000])
    before, resident = sys.getallocatedblocks(), memory_mb()["resident_mb"]
    blocks.clear()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    start = time.perf_counter()
    vectors = model.encode_arrow(texts) if way == WAYS[0] else model.encode(texts.to_pylist())
    seconds = time.perf_counter() - start
    extra = memory_mb()["at_most_mb"] - resident - vectors.nbytes / 1e6
    print(json.dumps({"rows": len(texts), "objects": max(blocks) - before, "extra_mb": extra, "seconds": seconds}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="default: tiny ones with random weights")
    parser.add_argument("--compared", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)  # a way, its model and texts, in this process
    options = parser.parse_args()
    if options.run:
        memory(options.run[1], Path(options.run[2]), options.run[0])
        return
    print(f"{processor()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.rounds:
            write_lines(folder / "compared.txt", options.compared)
            speed(options.model or str(write_bert(folder / "bert").folder), folder / "compared.txt", options.rounds)
        if options.rows:
            write_lines(folder / "rows.txt", options.rows)
            CASES["static-raw"].write(folder / "table")
            print(f"memory: {options.rows:,} texts")
        for way in WAYS if options.rows else ():
            words = [sys.executable, __file__, "--run", way, options.model or folder / "table", folder / "rows.txt"]
            found = json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)
            print(
                f"  {way}: {found['objects']:,} Python objects, {found['extra_mb']:.0f} MB beside the vectors, ", end=""
            )
            print(f"{found['extra_mb'] * 1e6 / found['rows']:.0f} bytes a text, {found['seconds']:.1f} s")


if __name__ == "__main__":
    main()
