"""`ironvec.spark.embed_udf` on two executors: every row once, the same vectors, whoever is killed meanwhile."""

import os
import shutil
import signal
import threading
import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyspark", reason="pyspark is not installed here: make test-clusters")
if shutil.which("java") is None:
    pytest.skip("Spark needs a JVM, and there is no java", allow_module_level=True)

from pyspark.errors import PythonException
from pyspark.sql import functions

from ironvec import Embedder
from ironvec.spark import embed_udf
from kit.bulk import texts
from kit.process_tree import descendants

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

ROWS, PARTS = 2_000, 20
EXECUTOR = "CoarseGrainedExecutorBackend"
PATIENCE_S = 300


@pytest.fixture(scope="module")
def rows() -> list[str | None]:
    found: list[str | None] = list(texts(ROWS))
    found[::7] = [None] * len(found[::7])
    return found


@pytest.fixture(scope="module")
def frame(spark, rows):
    return spark.createDataFrame(list(enumerate(rows)), "id int, text string").repartition(PARTS)


def check(collected: list[Any], rows: list[str | None], expected: np.ndarray) -> None:
    assert sorted(row.id for row in collected) == list(range(ROWS)), "every row once"
    for row in collected:
        if rows[row.id] is None:
            assert row.embedding is None
        else:
            np.testing.assert_allclose(row.embedding, expected[row.id], atol=1e-5)


def test_every_row_once_though_an_executor_is_killed(spark, frame, rows, folder):
    def slowly(identifier):
        import time

        time.sleep(0.01)
        return identifier

    # A column that takes its time, so that the kill is in the middle.
    slow = functions.udf(slowly, "int")
    made = frame.withColumn("embedding", embed_udf(folder)("text")).withColumn("id", slow("id"))
    collected: list[Any] = []
    job = threading.Thread(target=lambda: collected.extend(made.collect()), daemon=True)
    job.start()
    deadline = time.monotonic() + PATIENCE_S
    while (done := tasks_done(spark)) < 2 and job.is_alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    executors = descendants(EXECUTOR)
    assert len(executors) == 2, "two processes share the work"
    os.kill(executors[0], signal.SIGKILL)
    assert 2 <= done < PARTS, "killed in the middle"
    job.join(PATIENCE_S)
    assert not job.is_alive()
    check(collected, rows, Embedder(folder).encode([row or "" for row in rows]))


def tasks_done(spark) -> int:
    """Of the stage that embeds."""
    tracker = spark.sparkContext.statusTracker()
    stages = [tracker.getStageInfo(number) for number in tracker.getActiveStageIds()]
    return max(
        (stage.numCompletedTasks for stage in stages if stage is not None and stage.numTasks == PARTS), default=0
    )


def test_prompts_and_columns(spark, folder):
    frame = spark.createDataFrame([("a",), (None,)], "body string")
    embed = embed_udf(folder, prompt="query: ", rows_per_call=1)
    first, second = frame.select(embed(functions.upper("body")).alias("v")).collect()
    np.testing.assert_allclose(first.v, Embedder(folder).encode("A", prompt="query: "), atol=1e-5)
    assert second.v is None


def test_threads_are_the_cpus_of_the_task(spark):
    from ironvec.spark import assigned_cpus

    def cpus(_):
        from ironvec.spark import assigned_cpus

        return assigned_cpus()

    assert spark.range(2).select(functions.udf(cpus, "int")("id").alias("n")).collect()[0].n == 2
    assert assigned_cpus() is None, "the driver is no task"


def test_a_model_that_is_nowhere_is_named(spark):
    frame = spark.createDataFrame([("a",)], "text string")
    with pytest.raises(PythonException, match="no model 'no-such-model'"):
        frame.select(embed_udf("no-such-model")("text")).collect()


def test_what_is_no_text_is_refused(spark, folder):
    with pytest.raises(PythonException, match="TypeError"):
        spark.range(2).select(embed_udf(folder)("id")).collect()


@pytest.mark.parametrize("rows_per_call", [0, "many"])
def test_arguments_are_checked_on_the_driver(folder, rows_per_call):
    with pytest.raises((TypeError, ValueError), match="rows_per_call"):
        embed_udf(folder, rows_per_call=rows_per_call)
