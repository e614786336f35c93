"""BERTopic: the backend is the one that computes, in fit and transform, and survives saving and loading."""

import numpy as np
import pytest

from kit.packages import package
from kit.vectors import close

IronvecBackend = package("ironvec.integrations.bertopic").IronvecBackend
BERTopic = package("bertopic").BERTopic
KMeans, PCA = package("sklearn.cluster").KMeans, package("sklearn.decomposition").PCA

TEXTS = [
    "the cat sat on the mat",
    "a dog sat",
    "cook pasta in water",
    "boil the water",
    "paris in france",
    "a city",
] * 3


@pytest.fixture
def topics(folder):
    """Small and repeatable: with few texts, UMAP and HDBSCAN find nothing."""
    return BERTopic(
        embedding_model=IronvecBackend(folder, {"default_prompt_name": "topics"}),
        umap_model=PCA(2, random_state=0), hdbscan_model=KMeans(3, n_init=3, random_state=0),
    )  # fmt: skip


def test_it_embeds(folder, expected):
    backend = IronvecBackend(folder, {"default_prompt_name": "query"})
    for embed in (backend.embed, backend.embed_documents, backend.embed_words):
        close(embed(expected.texts), expected.query)
    assert backend.embed([]).shape == (0, 32)


def test_topics_are_those_of_its_vectors(topics, model):
    found, _ = topics.fit_transform(TEXTS)
    assert isinstance(topics.embedding_model, IronvecBackend)
    again, _ = topics.fit_transform(TEXTS, model.encode(TEXTS, prompt_name="topics"))
    assert found == again
    assert len(set(found)) == 3
    assert list(topics.transform(TEXTS)[0]) == found


def test_a_model_that_was_pickled_embeds_again(topics, tmp_path):
    found, _ = topics.fit_transform(TEXTS)
    topics.save(str(tmp_path / "topics"), serialization="pickle")
    loaded = BERTopic.load(str(tmp_path / "topics"))
    assert list(loaded.transform(TEXTS)[0]) == found


def test_a_model_that_was_saved_as_tensors_takes_the_backend_at_loading(topics, folder, tmp_path):
    topics.fit(TEXTS)
    topics.save(str(tmp_path / "topics"), serialization="safetensors", save_embedding_model=False)
    backend = IronvecBackend(folder, {"default_prompt_name": "topics"})
    loaded = BERTopic.load(str(tmp_path / "topics"), embedding_model=backend)
    assert loaded.embedding_model is backend
    found, _ = loaded.transform(TEXTS)
    assert np.shape(found) == (len(TEXTS),)
