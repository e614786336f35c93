"""Chroma: the prompts, the registry, and a collection on disk that another process opens by its config alone."""

import pytest

from ironvec import Embedder
from kit.interpreter import python
from kit.packages import package
from kit.vectors import close

IronvecEmbeddingFunction = package("ironvec.integrations.chroma").IronvecEmbeddingFunction
chromadb = package("chromadb")
embedding_functions = package("chromadb.utils.embedding_functions")


def test_queries_and_documents_get_their_prompts(folder, expected):
    function = IronvecEmbeddingFunction(Embedder(folder))
    close(function(expected.texts), expected.document)
    close(function.embed_query(expected.texts), expected.query)
    with pytest.raises(ValueError, match="non-empty"):
        function([])


def test_its_config_comes_back(folder, expected):
    function = IronvecEmbeddingFunction(folder, {"truncate_dim": 16})
    assert not function.is_legacy()
    assert function.get_config() == {"model": folder, "options": {"truncate_dim": 16}}
    copy = embedding_functions.config_to_embedding_function({"name": "ironvec", "config": function.get_config()})
    close(copy(expected.texts), function(expected.texts))


def test_a_config_is_made_without_loading_the_model():
    assert IronvecEmbeddingFunction("no-such-model").get_config() == {"model": "no-such-model", "options": {}}


def test_vectors_of_two_models_do_not_mix(folder):
    client = chromadb.EphemeralClient()
    collection = client.create_collection("mixed", embedding_function=IronvecEmbeddingFunction(folder))
    with pytest.raises(ValueError, match="holds vectors of"):
        collection.modify(configuration={"embedding_function": IronvecEmbeddingFunction("minilm")})
    moved = {"model": "/elsewhere/tiny", "options": {}}
    IronvecEmbeddingFunction(folder).validate_config_update({"model": folder, "options": {}}, moved)


_OPEN = """
import sys, chromadb, ironvec.integrations.chroma
client = chromadb.PersistentClient(sys.argv[1])
found = client.get_collection("texts").query(query_texts=[sys.argv[2]], n_results=1)
print(found["documents"][0][0], found["distances"][0][0])
"""


def test_a_collection_on_disk_opens_in_another_process(folder, expected, tmp_path):
    client = chromadb.PersistentClient(str(tmp_path))
    collection = client.create_collection("texts", embedding_function=IronvecEmbeddingFunction(folder))
    collection.add(ids=["0", "1", "2"], documents=expected.texts[:3])
    assert collection.configuration["hnsw"]["space"] == "cosine"
    stored = collection.get(include=["embeddings"])
    close(stored["embeddings"], expected.document[:3])
    found, distance = python(_OPEN, tmp_path, expected.texts[1], timeout_s=600).strip().rsplit(" ", 1)
    scores = expected.query[1] @ expected.document[:3].T
    assert found == expected.texts[scores.argmax()]
    assert 1 - float(distance) == pytest.approx(scores.max(), abs=1e-5)
