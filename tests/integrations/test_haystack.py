"""Haystack: both components alone, in pipelines, and written as YAML and read again."""

import asyncio

import pytest

from kit.packages import package
from kit.vectors import close

components = package("ironvec.integrations.haystack")
haystack = package("haystack")
InMemoryDocumentStore = package("haystack.document_stores.in_memory").InMemoryDocumentStore
InMemoryEmbeddingRetriever = package("haystack.components.retrievers").InMemoryEmbeddingRetriever
DocumentWriter = package("haystack.components.writers").DocumentWriter


@pytest.fixture
def documents(expected):
    return [haystack.Document(content=text, meta={"title": "red"}) for text in expected.texts[:3]]


def test_queries_and_documents_get_their_prompts(folder, expected, documents):
    text_embedder = components.IronvecTextEmbedder(folder)
    close(text_embedder.run(expected.texts[0])["embedding"], expected.query[0])
    close(asyncio.run(text_embedder.run_async(expected.texts[0]))["embedding"], expected.query[0])
    document_embedder = components.IronvecDocumentEmbedder(folder)
    for run in (document_embedder.run, lambda given: asyncio.run(document_embedder.run_async(given))):
        embedded = run(documents)["documents"]
        close([document.embedding for document in embedded], expected.document[:3])
        assert [document.content for document in embedded] == expected.texts[:3]
    assert documents[0].embedding is None
    assert document_embedder.run([]) == {"documents": []}
    close(document_embedder.run([haystack.Document()])["documents"][0].embedding, expected.document[3])


def test_fields_of_the_metadata_go_before_the_content(folder, model, documents):
    embedder = components.IronvecDocumentEmbedder(
        folder, meta_fields_to_embed=["title", "none"], embedding_separator=" "
    )
    close(embedder.run(documents)["documents"][0].embedding, model.encode_document("red the cat sat"))


def test_each_refuses_what_the_other_takes(folder, documents):
    with pytest.raises(TypeError, match="text is list, not str; IronvecDocumentEmbedder"):
        components.IronvecTextEmbedder(folder).run(documents)
    with pytest.raises(TypeError, match="not a list of Document; IronvecTextEmbedder"):
        components.IronvecDocumentEmbedder(folder).run(["the cat sat"])


def test_nothing_is_loaded_before_it_is_warmed_up(folder):
    embedder = components.IronvecTextEmbedder("no-such-model")
    assert embedder.to_dict()["init_parameters"] == {"model": "no-such-model", "options": {}}
    with pytest.raises(FileNotFoundError, match="no-such-model"):
        embedder.warm_up()


# Haystack reads components of its own packages only, unless it is told of others.
TRUSTED = {"allowed_modules": ["ironvec.integrations.haystack"]}


def test_a_search_that_was_written_as_yaml_and_read_again(folder, expected, documents):
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    indexing = haystack.Pipeline()
    indexing.add_component("embedder", components.IronvecDocumentEmbedder(folder, meta_fields_to_embed=["missing"]))
    indexing.add_component("writer", DocumentWriter(store))
    indexing.connect("embedder.documents", "writer.documents")
    written = indexing.dumps()
    assert haystack.Pipeline.loads(written, **TRUSTED).dumps() == written
    indexing.run({"embedder": {"documents": documents}})

    search = haystack.Pipeline()
    search.add_component("embedder", components.IronvecTextEmbedder(folder, {"max_length": 32}))
    search = haystack.Pipeline.loads(search.dumps(), **TRUSTED)
    search.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=1, scale_score=False))
    search.connect("embedder.embedding", "retriever.query_embedding")
    [found] = search.run({"embedder": {"text": expected.texts[1]}})["retriever"]["documents"]
    scores = expected.query[1] @ expected.document[:3].T
    assert found.content == expected.texts[scores.argmax()]
    assert found.score == pytest.approx(scores.max(), abs=1e-5)
