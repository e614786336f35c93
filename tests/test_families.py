"""Every model family equals its reference: `golden/generate_families.py` made the vectors.

A case is a tiny checkpoint of one family and one branch of its configuration (`kit/families`).
"""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from ironvec import Embedder, ModelError
from kit.families import CASES
from kit.families.golden import FACTS, NOT_YET, assert_equal, golden
from kit.families.texts import TEXTS

REFUSED = pytest.mark.xfail(raises=(ModelError, FileNotFoundError), strict=True)


def marks(name: str) -> list[pytest.MarkDecorator]:
    return [REFUSED] if name.startswith(NOT_YET) else []


EVERY_CASE = pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in CASES])


def loaded(name: str, tmp_path: Path) -> Embedder:
    folder = tmp_path / name
    CASES[name].write(folder)
    weights = next(folder.rglob("model.safetensors")).read_bytes()
    digest = hashlib.sha256(weights).hexdigest()
    assert digest == FACTS["model.safetensors sha256"][name], "another checkpoint than the golden one"
    return Embedder(folder)


def test_the_golden_texts_are_these():
    assert FACTS["texts"] == TEXTS
    assert FACTS["model.safetensors sha256"].keys() == CASES.keys()


@EVERY_CASE
def test_vectors_equal_the_reference(name, tmp_path):
    model, expected = loaded(name, tmp_path), golden(name)
    assert [len(row) for row in model.tokenize(TEXTS)] == expected["counts"].tolist()
    assert np.concatenate(model.tokenize(TEXTS)).tolist() == expected["ids"].tolist()
    alone = np.stack([model.encode(text) for text in TEXTS])
    assert_equal(alone, expected["vectors"])
    assert_equal(model.encode(TEXTS), expected["vectors"])
    shuffled = np.random.default_rng(5).permutation(len(TEXTS))
    assert_equal(model.encode([TEXTS[index] for index in shuffled]), expected["vectors"][shuffled])
    assert_equal(model.encode(TEXTS, batch_size=3), expected["vectors"])
