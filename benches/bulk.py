"""Bulk embedding beside one call: texts a second, and memory while a million lines go through.

    python benches/bulk.py [model] [--lines 1000000] [--compared 120000] [--rounds 5] [--folder FOLDER]

Without a model, a tiny one with random weights, so that whatever is not the model shows as much as it can. The lines
are short, no two alike.
  rate    `embed_files` of a file of `--compared` lines to .npy, from the call to the finished file, against `encode`
          of the list of the same lines; in one process, in turns; the median of the pairwise ratios.
  memory  `ironvec embed` of `--lines` lines: the most that was resident (Linux), and how much more that was in the
          last quarter of the job than in the first.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import targets
from report import processor
from turns import compare

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from ironvec import Embedder
from ironvec.bulk import embed_files
from kit.checkpoints import write_bert

_WORDS = ("the", "capital", "of", "france", "is", "paris", "cat", "dog", "sat", "on", "mat", "city", "river", "cook")
_GLANCE_S = 0.2


def write_lines(path: Path, count: int) -> None:
    chance = random.Random(7)
    with path.open("w", encoding="utf-8") as file:
        for index in range(count):
            file.write(f"{' '.join(chance.choices(_WORDS, k=chance.randint(2, 10)))} {index}\n")


def rate(model_name: str, folder: Path, lines: int, rounds: int) -> None:
    path, output = folder / "compared.txt", folder / "vectors.npy"
    write_lines(path, lines)
    model = Embedder(model_name)
    rows = path.read_text(encoding="utf-8").splitlines()

    def embed() -> None:
        for left in folder.glob(f"{output.name}*"):
            left.unlink()
        embed_files(path, output, model)

    ours, theirs, ratio = compare(embed, lambda: model.encode(rows), rounds)
    verdict = "ok" if 1 / ratio >= targets.BULK_RATE else "SHORT"
    print(f"rate: {lines:,} lines, {rounds} rounds")
    print(f"  embed {lines / ours:,.0f} texts/s, encode {lines / theirs:,.0f} texts/s")
    print(f"  embed makes {1 / ratio:.3f} of encode's (at least {targets.BULK_RATE}) {verdict}")


def resident_mb(process: int) -> float:
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0.0)


def memory(model_name: str, folder: Path, lines: int) -> None:
    path, output = folder / "lines.txt", folder / "memory.npy"
    write_lines(path, lines)
    words = [sys.executable, "-m", "ironvec", "embed", str(path), "-o", str(output), "--model", model_name, "--json"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    samples: list[tuple[float, float]] = []
    while process.poll() is None:
        samples.append((done_share(output, lines), resident_mb(process.pid)))
        time.sleep(_GLANCE_S)
    summary = json.loads(process.communicate()[0])
    most = max(resident for _, resident in samples)
    quarters = [
        max((resident for share, resident in samples if low < share <= low + 0.25), default=0.0)
        for low in (0.0, 0.25, 0.5, 0.75)
    ]
    growth = quarters[3] - quarters[0]
    verdict = "ok" if most <= targets.BULK_MB and growth <= targets.BULK_GROWTH_MB else "SHORT"
    print(f"memory: {summary['rows']:,} lines, {summary['rows_per_second']:,.0f} rows/s")
    print(f"  at most {most:.0f} MB (at most {targets.BULK_MB:.0f} MB); by quarters of the job", end=" ")
    print(" ".join(f"{value:.0f}" for value in quarters), end=" MB: ")
    print(f"{growth:+.1f} MB (at most {targets.BULK_GROWTH_MB:.0f} MB) {verdict}")


def done_share(output: Path, lines: int) -> float:
    try:
        return json.loads(Path(f"{output}.partial", "done.json").read_text(encoding="ascii"))["read"] / lines
    except OSError:
        return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="default: a tiny one with random weights")
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--compared", type=int, default=120_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where files are written (default: a temporary folder)")
    options = parser.parse_args()
    print(f"{processor()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        model_name = options.model or str(write_bert(folder / "model").folder)
        if options.rounds:
            rate(model_name, folder, options.compared, options.rounds)
        if options.lines:
            memory(model_name, folder, options.lines)


if __name__ == "__main__":
    main()
