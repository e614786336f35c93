"""LangChain: its standard tests for embeddings, the prompts, and a vector store of its own."""

import asyncio
import pickle

import pytest

from ironvec import Embedder
from kit.packages import package
from kit.vectors import close

IronvecEmbeddings = package("ironvec.integrations.langchain").IronvecEmbeddings
EmbeddingsUnitTests = package("langchain_tests.unit_tests").EmbeddingsUnitTests
EmbeddingsIntegrationTests = package("langchain_tests.integration_tests").EmbeddingsIntegrationTests
InMemoryVectorStore = package("langchain_core.vectorstores").InMemoryVectorStore


class _OfTheTinyModel:
    embeddings_class = IronvecEmbeddings

    @pytest.fixture(autouse=True)
    def _folder(self, folder):
        self.folder = folder

    @property
    def embedding_model_params(self):
        return {"model": self.folder, "options": {"truncate_dim": 16}}


class TestStandardUnit(_OfTheTinyModel, EmbeddingsUnitTests):
    pass


class TestStandardIntegration(_OfTheTinyModel, EmbeddingsIntegrationTests):
    pass


def test_queries_and_documents_get_their_prompts(folder, expected):
    embeddings = IronvecEmbeddings(Embedder(folder))
    close(embeddings.embed_documents(expected.texts), expected.document)
    close(embeddings.embed_query(expected.texts[0]), expected.query[0])
    assert embeddings.embed_documents([]) == []
    close(asyncio.run(embeddings.aembed_documents(expected.texts)), expected.document)
    close(asyncio.run(embeddings.aembed_query(expected.texts[0])), expected.query[0])


def test_it_pickles_by_name(folder, expected):
    data = pickle.dumps(IronvecEmbeddings(folder, {"truncate_dim": 16}))
    assert len(data) < 1000
    assert len(pickle.loads(data).embed_query(expected.texts[0])) == 16


def test_a_wrong_name_is_an_error_at_once():
    with pytest.raises(FileNotFoundError, match="no-such-model"):
        IronvecEmbeddings("no-such-model")


def test_in_a_vector_store(folder, expected):
    store = InMemoryVectorStore(IronvecEmbeddings(folder))
    store.add_texts(expected.texts[:3])
    scores = expected.query[1] @ expected.document[:3].T
    [(found, score)] = store.similarity_search_with_score(expected.texts[1], k=1)
    assert found.page_content == expected.texts[scores.argmax()]
    assert score == pytest.approx(scores.max(), abs=1e-5)
