"""Static tables: what does not fit together is refused by name, and what a table cannot do too."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ironvec import Embedder, ModelError
from kit.families import CASES


def folder_of(case, tmp_path, **changed):
    CASES[case].write(tmp_path)
    path = next(tmp_path.rglob("model.safetensors"))
    save_file({**load_file(path), **changed}, path)
    return tmp_path


def test_no_tokens_are_zeros_and_no_graph_is_reported(tmp_path):
    model = Embedder(folder_of("static-raw", tmp_path))
    assert not model.encode("").any()
    assert model.encode("a small boat").any()
    assert model.provider == "cpu"
    with pytest.raises(ModelError, match="static table"):
        model.export(tmp_path / "model.onnx")


@pytest.mark.parametrize("options", [{"dtype": "int8"}, {"file_name": "other.onnx"}])
def test_what_a_table_cannot_do_is_refused(options, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError)):
        Embedder(folder_of("static-raw", tmp_path), **options)


@pytest.mark.parametrize(
    "changed",
    [
        {"mapping": np.full(7, 1 << 20, np.int64)},
        {"mapping": np.full(7, -1, np.int64)},
        {"mapping": np.zeros((7, 1), np.int64)},
        {"mapping": np.zeros(7, np.float32)},
        {"weights": np.ones(7, np.float32)},
        {"embeddings": np.ones(24, np.float32)},
        {"embeddings": np.ones((2, 24), np.uint8)},
    ],
)
def test_tensors_that_do_not_fit_are_refused(changed, tmp_path):
    with pytest.raises(ModelError, match=next(iter(changed))):
        Embedder(folder_of("model2vec-mapped", tmp_path, **changed))


def test_an_id_outside_the_table_is_refused(tmp_path):
    folder = folder_of("model2vec", tmp_path, embeddings=np.ones((2, 24), np.float32))
    with pytest.raises(ModelError, match="outside the embedding table"):
        Embedder(folder).encode("a small boat")
