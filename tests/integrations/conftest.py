"""A model that tells queries, documents and other texts apart, and what it makes of them."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from ironvec import Embedder
from kit.checkpoints import write_bert

HERE = Path(__file__).parent
# Chroma and Haystack report usage to their makers unless told otherwise before they are imported.
os.environ["ANONYMIZED_TELEMETRY"] = os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            # The frameworks' own warnings are theirs to mend.
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its document prompt goes by another name, as E5's does."""
    prompts = {"query": "query: ", "passage": "passage: ", "topics": "blue "}
    return str(write_bert(tmp_path_factory.mktemp("prompted") / "tiny", prompts=prompts).folder)


class Vectors(NamedTuple):
    texts: list[str]
    plain: np.ndarray
    query: np.ndarray
    document: np.ndarray


@pytest.fixture(scope="session")
def expected(folder: str) -> Vectors:
    texts = ["the cat sat", "paris is the capital of france", "how to cook pasta", ""]
    model = Embedder(folder)
    vectors = Vectors(texts, model.encode(texts), model.encode_query(texts), model.encode_document(texts))
    for left, right in [(vectors.plain, vectors.query), (vectors.plain, vectors.document), vectors[2:]]:
        assert np.abs(left - right).max() > 1e-2, "the prompts would not show"
    return vectors
