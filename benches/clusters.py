"""One process with all cores, one worker, two workers: the same texts through `embed_files`, Ray and Spark.

    .venvs/clusters/bin/python benches/clusters.py [model] [--rows 20000] [--rounds 5] [--without-spark]

All on this machine, so that the cores are the same and what a cluster costs shows; more nodes bring more cores. In
turns, median seconds and the median ratio to one process (above 1: faster than it). Threads x workers = cores.
  process   `embed_files`
  ray n     `embed_files(engine="ray", workers=n)`, Ray being up: starting it is a line of its own
  spark n   `embed_udf` over as many partitions as there are chunks, n executors, models opened by a pass before; in a
            process of its own each time, from the call to the last row, which nobody keeps
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from report import processor
from turns import seconds

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from ironvec import Embedder
from ironvec.bulk import embed_files
from kit.bulk import texts, write_texts

CHUNK_ROWS = 1024


def bulk(path: Path, model: Embedder, **options: Any) -> float:
    output = path.with_suffix(".npy")
    taken = seconds(lambda: embed_files(path, output, model, chunk_rows=CHUNK_ROWS, **options))
    for left in path.parent.glob(f"{output.name}*"):
        left.unlink()
    return taken


def spark_pass(path: Path, model: str, workers: int, cores_each: int) -> float:
    """Runs `spark_here` in a process of its own."""
    words = [sys.executable, __file__, model, "--spark-here", path, workers, cores_each]
    done = subprocess.run(list(map(str, words)), stdout=subprocess.PIPE, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def spark_here(path: Path, model: str, workers: int, cores_each: int) -> None:
    from pyspark.sql import SparkSession

    from ironvec.spark import embed_udf

    os.environ |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    builder = SparkSession.builder.master(f"local-cluster[{workers},{cores_each},1024]")
    for name, value in {
        "spark.ui.enabled": False,
        "spark.driver.host": "127.0.0.1",
        "spark.task.cpus": cores_each,
    }.items():
        builder = builder.config(name, value)
    builder = builder.config("spark.executorEnv.PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    session = builder.getOrCreate()
    frame = session.read.text(str(path))
    frame = frame.repartition(max(workers, frame.count() // CHUNK_ROWS)).cache()
    embedded = frame.select(embed_udf(model)("value"))

    def every_row() -> None:
        embedded.write.format("noop").mode("overwrite").save()

    every_row()
    taken = seconds(every_row)
    session.stop()
    print(json.dumps(taken))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="minilm")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without-spark", action="store_true")
    parser.add_argument("--spark-here", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.spark_here:
        path, workers, cores_each = options.spark_here
        return spark_here(Path(path), options.model, int(workers), int(cores_each))
    cores = len(os.sched_getaffinity(0))
    half = max(1, cores // 2)
    started = time.perf_counter()
    ray.init("local", num_cpus=2 * half, include_dashboard=False, logging_level="ERROR", _node_ip_address="127.0.0.1")
    print(f"{processor()}, {cores} cores; {options.rows:,} rows, {options.rounds} rounds")
    print(f"starting Ray: {time.perf_counter() - started:.1f} s")
    whole, part = (Embedder(options.model, threads=threads) for threads in (cores, half))
    with tempfile.TemporaryDirectory() as folder:
        path = write_texts(Path(folder, "texts.txt"), texts(options.rows))
        ways: dict[str, Callable[[], float]] = {
            "process": lambda: bulk(path, whole),
            "ray 1": lambda: bulk(path, whole, engine="ray", workers=1),
            "ray 2": lambda: bulk(path, part, engine="ray", workers=2),
        }
        if not options.without_spark:
            ways["spark 1"] = lambda: spark_pass(path, options.model, 1, cores)
            ways["spark 2"] = lambda: spark_pass(path, options.model, 2, half)
        for way in ("process", "ray 1", "ray 2"):
            ways[way]()
        rounds = [{name: way() for name, way in ways.items()} for _ in range(options.rounds)]
    for name in ways:
        median = statistics.median(taken[name] for taken in rounds)
        ratio = statistics.median(taken["process"] / taken[name] for taken in rounds)
        print(f"{name:8} {median:6.1f} s  {options.rows / median:6,.0f} rows/s  {ratio:5.2f} x")
    ray.shutdown()


if __name__ == "__main__":
    main()
