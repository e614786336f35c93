"""KeyBERT: the backend is the one that computes, and the keywords are those nearest to the document."""

import pickle

import numpy as np
import pytest

from kit.packages import package
from kit.vectors import close

IronvecBackend = package("ironvec.integrations.keybert").IronvecBackend
KeyBERT = package("keybert").KeyBERT

TEXT = "the capital of france is paris, a city on a river"


def test_it_embeds_and_pickles(folder, expected):
    backend = IronvecBackend(folder, {"default_prompt_name": "query"})
    close(backend.embed(expected.texts), expected.query)
    close(backend.embed(np.array(expected.texts)), expected.query)
    assert backend.embed([]).shape == (0, 32)
    data = pickle.dumps(backend)
    assert len(data) < 1000
    close(pickle.loads(data).embed(expected.texts), expected.query)


def test_it_tells_how_far_it_is(folder, expected, capsys):
    close(IronvecBackend(folder).embed(expected.texts, verbose=True), expected.plain)
    assert "Texts" in capsys.readouterr().err


def test_keywords_are_the_nearest_words(folder, model):
    keybert = KeyBERT(model=IronvecBackend(folder))
    assert isinstance(keybert.model, IronvecBackend)
    found = dict(keybert.extract_keywords(TEXT, top_n=3, stop_words=None))
    words = ["capital", "city", "france", "is", "of", "on", "paris", "river", "the"]
    scores = model.encode(words) @ model.encode(TEXT)
    nearest = scores.argsort()[:-4:-1]
    assert set(found) == {words[index] for index in nearest}
    for index in nearest:
        assert found[words[index]] == pytest.approx(scores[index], abs=1e-4)
