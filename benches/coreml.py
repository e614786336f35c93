"""The CoreML flavour of a model, run by the CPU provider: equal to the CPU flavour, and what the decomposition costs.

    python benches/coreml.py FOLDER_OR_NAME [--buckets 128 512] [--rounds 7] [--float16]

Parity: rows that fill each bucket and rows that do not, normalised vectors. Cost: one row that fills the bucket, the
two flavours interleaved, medians of the pairwise ratios; once as the engine runs the flavour (no optimisations, which
is how CoreML gets it), and once exported and opened by stock ONNX Runtime with all of its optimisations. Writes the
flavour's weights into a temporary folder (1.8 GB in float32 for Qwen3-Embedding-0.6B).
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from turns import compare

from ironvec import Embedder
from ironvec.inspection import inspect
from kit.coreml_graphs import broken_rules

TEXT = (
    "The ferry to the island leaves twice a day when the weather allows it, and it takes about an hour to cross "
    "the strait between them on a calm day in the summer. "
)


def optimised(path: Path, threads: int) -> Callable[[], object]:
    """The exported graph in stock ONNX Runtime with all optimisations, on inputs of noise and one pooled token."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Threads that spin after a run would slow the flavour measured next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    random, given = np.random.default_rng(0), {}
    for value in session.get_inputs():
        given[value.name] = np.zeros(value.shape, dtype=np.float32)
        if value.name == "inputs_embeds":
            given[value.name] = 0.02 * random.standard_normal(value.shape, dtype=np.float32)
        elif value.name == "pool_w":
            given[value.name][..., -1] = 1
    return lambda: session.run(["pooled"], given)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--buckets", type=int, nargs="+", default=[64, 128, 256, 512])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--float16", action="store_true", help="parity in float16 too, emulated by the CPU provider")
    options = parser.parse_args()
    packages = ", ".join(f"{name} {version(name)}" for name in ("ironvec", "numpy", "onnxruntime", "onnx"))
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, {packages}")

    with tempfile.TemporaryDirectory() as folder:
        os.environ["IRONVEC_CACHE"] = folder
        cpu = Embedder(options.model, provider="cpu")
        for dtype in ("float32", "float16") if options.float16 else ("float32",):
            start = time.perf_counter()
            fixed = Embedder(options.model, provider="coreml-on-cpu", dtype=dtype)
            report = fixed.device_report()
            print(
                f"{dtype}: first load with the weights written {time.perf_counter() - start:.1f} s, "
                f"{report['nodes']} nodes, buckets {report['buckets']}"
            )
            for bucket in sorted({*options.buckets} & {*report["buckets"]}):
                measure(cpu, fixed, bucket, options.rounds if dtype == "float32" else 0, Path(folder))
            del fixed


def measure(cpu: Embedder, fixed: Embedder, bucket: int, rounds: int, folder: Path) -> None:
    lengths = sorted({bucket, bucket * 3 // 4, bucket // 2 + 1})
    text = TEXT * (bucket // 30 + 1)  # little more than fills the bucket: both flavours cut it there
    expected, found = (
        np.stack([model.encode(text, max_length=length) for length in lengths]) for model in (cpu, fixed)
    )
    difference, cosine = np.abs(found - expected).max(), (found * expected).sum(axis=1).min()
    print(f"  bucket {bucket}, rows of {lengths} tokens: difference {difference:.1e}, lowest cosine {cosine:.6f}")
    graph = Path(str(fixed.device_report()["cache_folder"])) / f"{bucket}.onnx"
    broken, seen = broken_rules(graph), inspect(graph)
    print(
        f"    {seen['taken']} of {seen['nodes']} nodes taken, {seen['partitions']} partition(s), "
        f"rank {seen['max_rank']}, {len(seen['large_initializers'])} large initializers, "
        f"{len(broken)} broken rules {broken[:3] or ''}"
    )
    if not rounds:
        return

    def as_cpu() -> object:
        return cpu.encode(text, max_length=bucket)

    def as_fixed() -> object:
        return fixed.encode(text, max_length=bucket)

    ours, theirs, ratio = compare(as_fixed, as_cpu, rounds)
    print(f"    as written {ours * 1000:.1f} ms, CPU flavour {theirs * 1000:.1f} ms, ratio {ratio:.2f} (at most 1.3)")
    path = folder / "flavour.onnx"
    files = cpu.export(path, "coreml", length=bucket)
    size = sum(os.path.getsize(file) for file in files) / 1e6
    nodes = len(onnx.load(path, load_external_data=False).graph.node)
    run = optimised(path, int(str(cpu.device_report()["threads"])))
    ours, theirs, ratio = compare(run, as_cpu, rounds)
    print(
        f"    exported ({size:.0f} MB in {len(files)} files, {nodes} nodes), all optimisations: {ours * 1000:.1f} ms "
        f"against {theirs * 1000:.1f} ms, ratio {ratio:.2f}"
    )
    for file in files:
        os.unlink(file)


if __name__ == "__main__":
    main()
