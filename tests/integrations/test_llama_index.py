"""LlamaIndex: queries, texts, batches, coroutines, a config's round trip, and an index of its own."""

import asyncio
import pickle

import pytest

from kit.packages import package
from kit.vectors import close

IronvecEmbedding = package("ironvec.integrations.llama_index").IronvecEmbedding
core = package("llama_index.core")


@pytest.fixture
def embedding(folder):
    return IronvecEmbedding(folder)


def test_queries_and_texts_get_their_prompts(embedding, expected):
    close(embedding.get_query_embedding(expected.texts[0]), expected.query[0])
    close(embedding.get_text_embedding(expected.texts[0]), expected.document[0])
    close(embedding.get_text_embedding_batch(expected.texts), expected.document)
    close(embedding.get_agg_embedding_from_queries(expected.texts), expected.query.mean(axis=0))
    assert embedding.get_text_embedding_batch([]) == []


def test_coroutines(embedding, expected):
    async def all_of_them():
        return await asyncio.gather(
            embedding.aget_query_embedding(expected.texts[0]),
            embedding.aget_text_embedding(expected.texts[0]),
            embedding.aget_text_embedding_batch(expected.texts),
        )

    query, text, texts = asyncio.run(all_of_them())
    close(query, expected.query[0])
    close(text, expected.document[0])
    close(texts, expected.document)


def test_texts_are_handed_over_many_at_a_time(embedding, expected, monkeypatch):
    sizes = []
    one_call = IronvecEmbedding._get_text_embeddings
    monkeypatch.setattr(
        IronvecEmbedding, "_get_text_embeddings", lambda self, texts: sizes.append(len(texts)) or one_call(self, texts)
    )
    embedding.get_text_embedding_batch(expected.texts * 150)
    assert sizes == [512, 88]


@pytest.mark.parametrize("way", ["to_dict", "to_json", "pickle"])
def test_it_comes_back_by_name_and_options(folder, expected, way):
    embedding = IronvecEmbedding(folder, {"truncate_dim": 16}, embed_batch_size=7)
    if way == "to_dict":
        assert embedding.to_dict()["options"] == {"truncate_dim": 16}
        copy = IronvecEmbedding.from_dict(embedding.to_dict())
    elif way == "to_json":
        copy = IronvecEmbedding.from_json(embedding.to_json())
    else:
        copy = pickle.loads(pickle.dumps(embedding))
    assert copy.embed_batch_size == 7
    close(copy.get_query_embedding(expected.texts[0]), embedding.get_query_embedding(expected.texts[0]))


def test_in_an_index(embedding, expected):
    documents = [core.Document(text=text) for text in expected.texts[:3]]
    index = core.VectorStoreIndex.from_documents(documents, embed_model=embedding)
    [found] = index.as_retriever(similarity_top_k=1).retrieve(expected.texts[1])
    scores = expected.query[1] @ expected.document[:3].T
    assert found.text == expected.texts[scores.argmax()]
    assert found.score == pytest.approx(scores.max(), abs=1e-5)
