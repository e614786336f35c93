"""How fast a model is: one text at a time, in batches, and where the time goes.

In: an `Embedder`, batch sizes, how many runs. Out: a record, JSON as it is, times in milliseconds. Warm-up is apart:
the first call, and those after it that are not counted.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from .sample_texts import numbered

if TYPE_CHECKING:
    from .embedder import Embedder

# Calls before any is counted.
WARM_UP = 3


class Latency(TypedDict):
    """Of single texts, in milliseconds."""

    runs: list[float]
    mean: float
    median: float
    p95: float
    p99: float
    least: float
    most: float


class Batch(TypedDict):
    """The median run of so many texts in one call."""

    texts: int
    total_ms: float
    per_text_ms: float
    texts_per_s: float
    efficiency: float
    """How many times the texts a second of one text at a time."""


class Split(TypedDict):
    """Where the time of one text goes, the median of each part."""

    tokenize_ms: float
    infer_ms: float
    """The network, with pooling and scaling, which are parts of the same run."""
    finish_ms: float
    """Arguments in, the array out."""


class Measurement(TypedDict):
    """One model in one configuration."""

    model: str
    provider: str
    dtype: str
    memory: str
    dimension: int
    threads: int
    kernels: str
    load_ms: float
    first_call_ms: float
    tokens: float
    """Of a text, on average."""
    single: Latency
    batches: list[Batch]
    split: Split
    memory_mb: float | None
    """Resident after all runs; None where the platform does not say."""
    peak_memory_mb: float | None


def measure(
    model: Embedder,
    *,
    load_ms: float,
    memory: str,
    batches: Sequence[int],
    runs: int,
    texts: Sequence[str] | None,
    step: Callable[[], object],
) -> Measurement:
    """Runs a model; `step` is called `runs * (2 + len(batches))` times, after each counted run."""
    wanted = max([runs + WARM_UP, *batches])
    given = numbered(wanted) if texts is None else [texts[index % len(texts)] for index in range(wanted)]
    first_call_ms = _timed(lambda: model.encode(given[0]))
    for text in given[1 : 1 + WARM_UP]:
        model.encode(text)

    single = []
    for text in given[WARM_UP : WARM_UP + runs]:
        single.append(_timed(lambda text=text: model.encode(text)))  # type: ignore[misc]
        step()
    parts = []
    for text in given[WARM_UP : WARM_UP + runs]:
        parts.append(model.embed_texts([text], max_length=model.max_length)[1])
        step()
    tokenize = float(np.median([one["tokenize_ms"] for one in parts]))
    rest = [one["total_ms"] - one["inference_ms"] - one["tokenize_ms"] for one in parts]
    infer = float(np.median([one["inference_ms"] - one["tokenize_ms"] for one in parts]))

    alone_ms = float(np.median(single))
    table: list[Batch] = []
    for count in batches:
        rows = given[:count]
        model.encode(rows)
        times = []
        for _ in range(runs):
            times.append(_timed(lambda rows=rows: model.encode(rows)))  # type: ignore[misc]
            step()
        total = float(np.median(times))
        table.append({
            "texts": count, "total_ms": total, "per_text_ms": total / count, "texts_per_s": 1000.0 * count / total,
            "efficiency": alone_ms * count / total,
        })  # fmt: skip
    report = model.device_report()
    resident, peak = _memory_mb()
    return {
        "model": model.model_id,
        "provider": model.provider,
        "dtype": model.dtype,
        "memory": memory,
        "dimension": model.dimension,
        "threads": int(str(report["threads"])),
        "kernels": str(report["kernels"]),
        "load_ms": load_ms,
        "first_call_ms": first_call_ms,
        "tokens": float(model.count_tokens(given).mean()),
        "single": latency(single),
        "batches": table,
        "split": {"tokenize_ms": tokenize, "infer_ms": max(infer, 0.0), "finish_ms": float(np.median(rest))},
        "memory_mb": resident,
        "peak_memory_mb": peak,
    }


def latency(runs: Sequence[float]) -> Latency:
    """What is said of times in milliseconds. Percentiles between two runs are interpolated."""
    p95, p99 = (float(np.percentile(runs, share)) for share in (95, 99))
    return {
        "runs": list(runs), "mean": float(np.mean(runs)), "median": float(np.median(runs)), "p95": p95, "p99": p99,
        "least": min(runs), "most": max(runs),
    }  # fmt: skip


def machine() -> dict[str, str | int]:
    """What the figures were measured on."""
    import platform
    from importlib.metadata import version

    from ._core import version as own_version

    return {
        "processor": _processor() or platform.processor() or platform.machine(),
        "cpus": os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "ironvec": own_version(),
        "onnxruntime": version("onnxruntime"),
    }


def _processor() -> str | None:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), None)
    except OSError:
        return None


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000.0


def _memory_mb() -> tuple[float | None, float | None]:
    """Resident now, and at most."""
    if sys.platform == "win32":
        return None, None
    import resource

    # In units of 1,024 bytes, but in bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            resident = int(file.read().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return None, peak
    # The kernel's peak may lag behind by some pages.
    return resident, max(peak, resident)
