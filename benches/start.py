"""How long it takes to begin: `import ironvec` against `import numpy`, and loading a model.

Each figure is measured in a process of its own, the two imports interleaved, and reported as the median; the import as
the median of the pairwise ratios, since absolute times on a shared machine prove little.

    python benches/start.py [model] [--rounds 21]
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
from importlib.metadata import version

IMPORT = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"
LOAD = """
import sys, time
from ironvec import Embedder
times = []
for _ in range(2):
    start = time.perf_counter()
    model = Embedder(sys.argv[1])
    times.append(time.perf_counter() - start)
    model.encode("warm")
print(*times)
"""


def seconds(code: str, *arguments: str) -> list[float]:
    """What a fresh interpreter prints for a piece of code."""
    printed = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    return [float(word) for word in printed.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="minilm")
    parser.add_argument("--rounds", type=int, default=21)
    options = parser.parse_args()

    packages = ", ".join(f"{name} {version(name)}" for name in ("ironvec", "numpy", "onnxruntime"))
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, {packages}")
    seconds(IMPORT.format("ironvec"))  # the first reads the files from disk
    pairs = [(seconds(IMPORT.format("ironvec"))[0], seconds(IMPORT.format("numpy"))[0]) for _ in range(options.rounds)]
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    ours, theirs = (statistics.median(column) * 1000 for column in zip(*pairs, strict=True))
    print(f"import ironvec {ours:6.1f} ms   import numpy {theirs:6.1f} ms   ratio {ratio:.2f} (at most 1.5)")

    loads = [seconds(LOAD, options.model) for _ in range(options.rounds)]
    first, again = (statistics.median(column) * 1000 for column in zip(*loads, strict=True))
    print(f"load {options.model}   first in a process {first:6.1f} ms   again {again:6.1f} ms   (at most 200 ms)")


if __name__ == "__main__":
    main()
