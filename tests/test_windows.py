"""Calls of more texts than are tokenized at a time: order, counts and indices hold across windows."""

import numpy as np
import pytest

from ironvec import Embedder
from kit.checkpoints import write_bert

pytestmark = pytest.mark.slow

WORDS = ["the", "capital", "of", "france", "is", "paris", "cook", "pasta", "in", "water"]
COUNT = 20_000  # more than two windows of 8,192


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Embedder:
    return Embedder(write_bert(tmp_path_factory.mktemp("windows") / "bert").folder)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """No two alike, of 1 to 12 words; which ones are told by the index."""
    random = np.random.default_rng(0)
    lengths = random.integers(1, 13, COUNT)
    return [" ".join([*random.choice(WORDS, length), str(index)]) for index, length in enumerate(lengths)]


def test_rows_stay_where_their_texts_are(model, texts):
    assert len(set(texts)) == COUNT
    vectors = model.encode(texts)
    sample = np.random.default_rng(1).integers(0, COUNT, 300)
    alone = np.stack([model.encode(texts[index]) for index in sample])
    np.testing.assert_allclose(vectors[sample], alone, rtol=0, atol=1e-5)


def test_long_texts_end_a_window_early(model):
    texts = [f"{'paris ' * 50_000}{index}" for index in range(12)]  # 300 KB each: three or four to a window
    vectors = model.encode(["cook", *texts, "pasta"])
    np.testing.assert_allclose(vectors[1:-1], np.broadcast_to(vectors[1], (12, model.dimension)), rtol=0, atol=1e-5)
    np.testing.assert_allclose(vectors[[0, -1]], model.encode(["cook", "pasta"]), rtol=0, atol=1e-5)


def test_cut_texts_are_counted_in_every_window_and_for_every_copy(model, texts):
    long = "paris " * 100
    crowd = list(texts)
    for index in (5, 9_000, 19_999):
        crowd[index] = f"{long}{index}"
    crowd[7] = crowd[12_345] = crowd[5]
    warned = Embedder(model.model_id, on_truncate="warn")
    with pytest.warns(UserWarning, match="5 of 20000 texts were cut"):
        warned.encode(crowd)


def test_a_refused_text_is_named_by_its_place_in_the_call(model, texts):
    crowd = [*texts[:-1], "paris " * 100]
    refusing = Embedder(model.model_id, on_truncate="error")
    with pytest.raises(ValueError, match=rf"\[{COUNT - 1}\]"):
        refusing.encode(crowd)
    np.testing.assert_allclose(refusing.encode("paris"), model.encode("paris"), rtol=0, atol=1e-5)
