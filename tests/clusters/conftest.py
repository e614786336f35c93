"""A Ray and a Spark for all tests of this folder, on this machine alone, on loopback. Slow starts are theirs."""

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

CPUS = 4
# Its own, whoever else runs a Ray here; the processes of the command reach it by `RAY_ADDRESS` without a token.
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """A Ray of four CPUs, whatever the machine has; this process is connected to it."""
    import ray

    for attempt in range(4):
        try:
            context = ray.init(
                "local", num_cpus=CPUS, include_dashboard=False, logging_level="ERROR", _node_ip_address="127.0.0.1"
            )
            break
        except Exception:  # on a busy machine: its nodes are given 30 s to appear
            ray.shutdown()
            if attempt == 3:
                raise
    yield context.address_info["gcs_address"]
    ray.shutdown()


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    """Two executors, each a JVM of its own, with two CPUs for one task at a time."""
    from pyspark.sql import SparkSession

    os.environ |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    builder = SparkSession.builder.master("local-cluster[2,2,1024]").appName("tests")
    for name, value in {
        "spark.ui.enabled": False,
        "spark.driver.host": "127.0.0.1",
        "spark.task.cpus": 2,
        "spark.sql.shuffle.partitions": 4,
        "spark.executorEnv.PYTHONPATH": os.environ.get("PYTHONPATH", ""),
    }.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()
