"""`ironvec bench`: how fast models are, in text, JSON or an HTML page.

In: models, and the configurations to run each in. Out: what `benchmark.py` measured; exit code 1 if a target is missed.
Several configurations run one after the other, each in a process of its own, so that memory is each one's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from ..terminal import show
from .opening import UsageError, open_model, usage_errors

if TYPE_CHECKING:
    from ..benchmark import Measurement

HELP = "measure how fast models are, alone and in batches"

_EXAMPLES = """\
examples:
  ironvec bench minilm
  ironvec bench minilm --target-p95-ms 20        exit code 1 if it is slower
  ironvec bench minilm e5-small --dtype float32,int8 --report bench.html
  ironvec bench qwen3 --texts queries.txt --runs 50 --batches 1,8,64

Times are of this machine, as busy as it is: medians bear that better than
means. "against one" is how many times the texts a second of one text at a
time. "infer" is the network with pooling and scaling, which are parts of the
same run.

exit codes: 0 done, 1 slower than the target, 2 wrong arguments or no model
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("models", metavar="MODEL", nargs="+", help="alias, checkpoint folder, hub id or .onnx file")
    parser.add_argument("--provider", type=_words, default=["auto"], metavar="NAME,...", help="auto, cpu, cuda, coreml")
    parser.add_argument("--dtype", type=_words, default=["float32"], metavar="NAME,...", help="float32, int8, float16")
    parser.add_argument("--memory", type=_words, default=["fast"], metavar="NAME,...", help="fast, low")
    parser.add_argument("--file", metavar="NAME", help="an ONNX file of the folder, instead of the checkpoint")
    parser.add_argument("--threads", type=_count, metavar="N", help="CPU threads (default: as many as there are)")
    parser.add_argument(
        "--batches", type=_counts, default=[1, 2, 4, 8, 16, 32], metavar="N,...", help="texts a call (1,2,4,8,16,32)"
    )
    parser.add_argument("--runs", type=_count, default=10, metavar="N", help="runs of each kind (default: 10)")
    parser.add_argument("--texts", metavar="FILE", help="one text a line, instead of short questions")
    parser.add_argument("--target-p95-ms", type=_time, metavar="MS", help="the 95th percentile that one text may take")
    parser.add_argument("--report", metavar="FILE.html", help="write a page with charts")
    parser.add_argument("--json", action="store_true", help="print the measurements as JSON")


def run(options: argparse.Namespace) -> int:
    from ..benchmark import machine
    from ..benchmark_text import block, side_by_side

    if options.texts:
        from ..sample_texts import read_texts

        with usage_errors((OSError, ValueError)):
            read_texts(options.texts)
    wanted = [
        {"model": model, "provider": provider, "dtype": dtype, "memory": memory}
        for model in options.models
        for provider in options.provider
        for dtype in options.dtype
        for memory in options.memory
    ]
    target, measured = options.target_p95_ms, []
    for index, one in enumerate(wanted):
        found = _measured_here(options, one) if len(wanted) == 1 else _measured_apart(options, one)
        measured.append(found)
        if not options.json:
            show(("\n" if index else "") + "\n".join(block(found, target)))
            sys.stdout.flush()
    if len(measured) > 1 and not options.json:
        show("\n" + "\n".join(side_by_side(measured)))
    missed = target is not None and any(not one["single"]["p95"] <= target for one in measured)
    if options.json:
        record = {"machine": machine(), "target_p95_ms": target, "passed": not missed, "measurements": measured}
        show(json.dumps(record, indent=2))
    if options.report:
        from ..benchmark_page import page
        from ..cache_files import write_whole

        write_whole(options.report, page(measured, machine(), target))
        if not options.json:
            show(f"\nWritten: {options.report}")
    return 1 if missed else 0


def _measured_here(options: argparse.Namespace, one: dict[str, str]) -> Measurement:
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    from ..benchmark import measure
    from ..sample_texts import read_texts

    started = time.perf_counter()
    model = open_model(
        one["model"], provider=one["provider"], dtype=one["dtype"], memory=one["memory"], file_name=options.file,
        threads=options.threads,
    )  # fmt: skip
    load_ms = (time.perf_counter() - started) * 1000.0
    steps = options.runs * (2 + len(options.batches))
    # disable=None: no bar where stderr is no terminal.
    with tqdm(total=steps, desc=one["model"], unit="run", leave=False, disable=None) as bar:
        return measure(
            model, load_ms=load_ms, memory=one["memory"], batches=options.batches, runs=options.runs,
            texts=read_texts(options.texts) if options.texts else None, step=bar.update,
        )  # fmt: skip


def _measured_apart(options: argparse.Namespace, one: dict[str, str]) -> Measurement:
    arguments = ["--json", "--runs", str(options.runs), "--batches", ",".join(map(str, options.batches))]
    for name in ("provider", "dtype", "memory"):
        arguments += [f"--{name}", one[name]]
    for name in ("file", "threads", "texts"):
        if (value := getattr(options, name)) is not None:
            arguments += [f"--{name}", str(value)]
    command = [sys.executable, "-m", "ironvec", "bench", *arguments, "--", one["model"]]
    # The child's progress bar and errors go where ours would.
    done = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", errors="replace")
    if done.returncode == 2:
        raise UsageError(f"{one['model']}: not measured, as said above")
    if done.returncode != 0:
        raise ValueError(f"{one['model']} with {one['provider']}, {one['dtype']}: not measured, as said above")
    found: Any = json.loads(done.stdout)["measurements"][0]
    measurement: Measurement = found
    return measurement


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _counts(text: str) -> list[int]:
    return [_count(word) for word in text.split(",")]


def _count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = 0
    if not 1 <= count <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return count


def _time(text: str) -> float:
    try:
        time_ms = float(text)
    except ValueError:
        time_ms = -1.0
    if not 0 < time_ms < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time in milliseconds")
    return time_ms
