"""LanceDB: the prompts, the registry, nulls, and a table on disk that another process opens by its metadata alone."""

import json

import numpy as np
import pytest

from ironvec import Embedder
from kit.interpreter import python
from kit.packages import package
from kit.vectors import close

IronvecEmbeddings = package("ironvec.integrations.lancedb").IronvecEmbeddings
lancedb = package("lancedb")
LanceModel, Vector = package("lancedb.pydantic").LanceModel, package("lancedb.pydantic").Vector
get_registry = package("lancedb.embeddings").get_registry
pa = package("pyarrow")


def test_queries_and_source_columns_get_their_prompts(folder, expected):
    function = get_registry().get("ironvec").create(model=folder)
    assert function.ndims() == 32
    for column in (
        expected.texts,
        pa.array(expected.texts),
        pa.chunked_array([expected.texts]),
        np.array(expected.texts),
    ):
        close(function.compute_source_embeddings(column), expected.document)
        close(function.compute_query_embeddings(column), expected.query)
    close(function.compute_query_embeddings(expected.texts[0]), expected.query[:1])
    assert function.compute_source_embeddings([]) == []


def test_a_null_has_no_vector(folder, expected):
    found = IronvecEmbeddings.create(folder).compute_source_embeddings(pa.array([None, expected.texts[0], None]))
    assert [vector is None for vector in found] == [True, False, True]
    close(found[1], expected.document[0])


def test_what_it_does_not_take_is_refused(folder):
    with pytest.raises(ValueError, match="dtype"):
        IronvecEmbeddings.create(folder, dtype="int8")
    with pytest.raises(ValueError, match="token"):
        IronvecEmbeddings.create(folder, {"token": "hf_secret"})
    with pytest.raises(Exception, match=r"retries \(0\)"):
        IronvecEmbeddings.create("no-such-model").compute_query_embeddings_with_retry("the cat sat")


def test_equal_ones_are_equal(folder):
    one, same, other = (IronvecEmbeddings.create(folder, {"truncate_dim": size}) for size in (16, 16, 8))
    assert one == same != other
    assert hash(one) == hash(same)


_OPEN = """
import sys, lancedb, ironvec.integrations.lancedb
[found] = lancedb.connect(sys.argv[1]).open_table("texts").search(sys.argv[2]).metric("cosine").limit(1).to_list()
print(found["text"], found["_distance"])
"""


def test_a_table_on_disk_opens_in_another_process(folder, expected, tmp_path):
    function = IronvecEmbeddings.create(Embedder(folder, max_length=32))

    class Row(LanceModel):
        text: str = function.SourceField()
        vector: Vector(function.ndims()) = function.VectorField()

    table = lancedb.connect(tmp_path).create_table("texts", schema=Row)
    table.add([{"text": text} for text in expected.texts[:3]])
    close(np.stack(table.to_pandas()["vector"]), expected.document[:3])
    [kept] = json.loads(table.schema.metadata[b"embedding_functions"])
    assert (kept["name"], kept["model"]) == ("ironvec", {"model": folder, "options": {"max_length": 32}})

    found, distance = python(_OPEN, tmp_path, expected.texts[1], timeout_s=600).strip().rsplit(" ", 1)
    scores = expected.query[1] @ expected.document[:3].T
    assert found == expected.texts[scores.argmax()]
    assert 1 - float(distance) == pytest.approx(scores.max(), abs=1e-5)
