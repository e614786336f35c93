"""`ironvec.ray.EmbedTexts` in Ray Data: every row once, the same vectors, whoever is killed meanwhile."""

import os
import signal
import sys
import time

import numpy as np
import pytest

ray = pytest.importorskip("ray", reason="ray is not installed here: make test-clusters")
import pyarrow  # noqa: E402

from ironvec import Embedder  # noqa: E402
from ironvec.ray import EmbedTexts  # noqa: E402
from kit.bulk import texts  # noqa: E402
from kit.hub_server import HubServer, Repository  # noqa: E402
from kit.process_tree import descendants  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

ROWS = 4_000
CPUS_EACH = 1


class Told(EmbedTexts):
    """Says of each row who embedded it and on how many threads, and takes its time."""

    def __call__(self, table: pyarrow.Table) -> pyarrow.Table:
        time.sleep(0.1)
        threads = self._model.device_report()["threads"]
        made = super().__call__(table)
        made = made.append_column("process", pyarrow.array([os.getpid()] * len(made)))
        return made.append_column("threads", pyarrow.array([threads] * len(made)))


@pytest.fixture(scope="module", autouse=True)
def by_value():
    """The workers do not find this module."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


def embedded(table: pyarrow.Table, kind: type = Told, *, workers: int = 2, num_cpus: int = CPUS_EACH, **keywords):
    return ray.data.from_arrow(table).map_batches(
        kind, fn_constructor_kwargs=keywords, compute=ray.data.ActorPoolStrategy(size=workers), num_cpus=num_cpus,
        batch_size=100, batch_format="pyarrow",
    )  # fmt: skip


def test_every_row_once_though_a_worker_is_killed(ray_address, folder):
    rows: list[str | None] = list(texts(ROWS))
    rows[::7] = [None] * len(rows[::7])
    table = pyarrow.table({"id": range(ROWS), "text": pyarrow.array(rows, pyarrow.string())})
    found: dict[int, list[float] | None] = {}
    killed = None
    for batch in embedded(table, model=str(folder)).iter_batches(batch_size=100, batch_format="pyarrow"):
        for row in batch.to_pylist():
            assert row["id"] not in found, "a row came twice"
            assert row["text"] == rows[row["id"]]
            assert row["threads"] == CPUS_EACH
            found[row["id"]] = row["embedding"]
        if killed is None:
            killed = batch["process"][0].as_py()
            assert killed in descendants("ray::")
            os.kill(killed, signal.SIGKILL)
            assert len(found) < ROWS / 2, "killed in the middle"
    assert sorted(found) == list(range(ROWS))
    expected = Embedder(folder).encode([row or "" for row in rows])
    for index, vector in found.items():
        if rows[index] is None:
            assert vector is None
        else:
            np.testing.assert_allclose(vector, expected[index], atol=1e-5)


def test_threads_are_the_cpus_of_the_task(ray_address, folder):
    table = pyarrow.table({"text": ["a", "b"]})
    for cpus in (1, 2):
        rows = embedded(table, workers=1, num_cpus=cpus, model=str(folder)).take_all()
        assert {row["threads"] for row in rows} == {cpus}


def test_columns_types_and_prompts(ray_address, folder):
    table = pyarrow.table({"body": pyarrow.array(["a", None, "b"], pyarrow.large_string()), "id": [1, 2, 3]})
    made = embedded(table, EmbedTexts, workers=1, model=str(folder), text_column="body", embedding_column="v",
                    prompt="query: ")  # fmt: skip
    [whole] = list(made.iter_batches(batch_size=None, batch_format="pyarrow"))
    assert whole.column_names == ["body", "id", "v"]
    assert whole.schema.field("v").type == pyarrow.list_(pyarrow.float32(), 32)
    expected = Embedder(folder).encode(["a", "b"], prompt="query: ")
    np.testing.assert_allclose([whole["v"][0].as_py(), whole["v"][2].as_py()], expected, atol=1e-5)
    assert whole["v"][1].as_py() is None


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        ({"text": ["a"]}, TypeError, 'a batch is dict; map_batches needs batch_format="pyarrow"'),
        (pyarrow.table({"body": ["a"]}), ValueError, "0 columns 'text'; there are: body"),
        (pyarrow.table({"text": ["a"], "embedding": [1]}), ValueError, "'embedding' is there already"),
        (pyarrow.table({"text": [1]}), TypeError, "int"),
    ],
)
def test_other_batches_are_refused(ray_address, folder, batch, error, message):
    with pytest.raises(error, match=message):
        EmbedTexts(folder)(batch)


def test_batches_without_texts(ray_address, folder):
    embed = EmbedTexts(folder)
    assert embed(pyarrow.table({"text": pyarrow.array([], pyarrow.string())}))["embedding"].to_pylist() == []
    assert embed(pyarrow.table({"text": pyarrow.nulls(2)}))["embedding"].to_pylist() == [None, None]


class Opened:
    """An actor that opens the model, whether Ray Data would have given it rows or not."""

    def __init__(self, model: str) -> None:
        self._embed = EmbedTexts(model)

    def rows(self, table: pyarrow.Table) -> tuple[int, int]:
        return os.getpid(), self._embed(table).num_rows


def test_actors_of_a_node_fetch_the_weights_once(ray_address, folder, tmp_path):
    hub = HubServer({"some/model": Repository(folder)})
    place = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    try:
        kind = ray.remote(num_cpus=1, runtime_env={"env_vars": place})(Opened)
        actors = [kind.remote("some/model") for _ in range(2)]
        first, second = ray.get([actor.rows.remote(pyarrow.table({"text": ["a"]})) for actor in actors])
        assert first[0] != second[0]
        assert (first[1], second[1]) == (1, 1)
        fetched = [path for method, path in hub.requests if method == "GET" and path.endswith("model.safetensors")]
        assert len(fetched) == 1
    finally:
        hub.close()
