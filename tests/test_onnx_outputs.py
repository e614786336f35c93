"""What an ONNX file puts out is held against rows, tokens and width before a number of it is used, and a vector that is
no number is an error that names its text."""

import numpy as np
import pytest

from ironvec import Embedder, ModelError
from kit.checkpoints import write_bert, write_safetensors
from kit.onnx_export import TOKENS, write_encoder_export
from kit.table_export import WIDTH, TableExport

TEXTS = ["paris", "the capital of france", "cat on mat", "water"]


@pytest.fixture
def export(tmp_path):
    return TableExport(tmp_path)


def test_as_many_vectors_as_tokens(export):
    model = Embedder(export.finish(export.states))
    np.testing.assert_allclose(model.encode(TEXTS), export.means(TEXTS), rtol=0, atol=1e-5)
    # As many rows as tokens.
    texts = ["paris", "cat", "mat"]
    np.testing.assert_allclose(model.encode(texts), export.means(texts), rtol=0, atol=1e-5)


def test_fewer_rows(export):
    model = Embedder(export.finish(export.cut(export.states, 0, 1)))
    np.testing.assert_allclose(model.encode(["paris"]), export.means(["paris"]), rtol=0, atol=1e-5)
    message = r"model\.onnx: output `last_hidden_state` of 4 rows of 6 tokens is of shape \[1, 6, 32\]; "
    with pytest.raises(ModelError, match=message + r"supported: \[4, 6, 32\]: rows, tokens and width"):
        model.encode(TEXTS, out=np.full((4, WIDTH), 7, dtype=np.float32))


def test_fewer_tokens(export):
    model = Embedder(export.finish(export.cut(export.states, 1, 5)))
    np.testing.assert_allclose(model.encode("paris"), export.means(["paris"])[0], rtol=0, atol=1e-5)
    with pytest.raises(ModelError, match=r"output `last_hidden_state` of 4 rows of 6 tokens is of shape \[4, 5, 32\]"):
        model.encode(TEXTS)


@pytest.mark.parametrize("declared", [(*TOKENS, WIDTH), (*reversed(TOKENS), WIDTH), ("a", "b", "c")], ids=str)
def test_swapped_axes(export, declared):
    folder = export.finish(export.node("Transpose", export.states, perm=[1, 0, 2]), declared)
    with pytest.raises(ModelError, match=r"of 1 rows of 2 tokens is of shape \[2, 1, 32\]; supported: \[1, 2, 32\]"):
        Embedder(folder)


def test_another_width_than_hidden_size(tmp_path):
    export = TableExport(tmp_path, width=48)
    folder = export.finish(export.states, (*TOKENS, 48), name="logits")
    with pytest.raises(ModelError, match=r"output `logits` .* is of shape \[1, 2, 48\]; supported: \[1, 2, 32\]"):
        Embedder(folder)


def test_a_width_that_no_file_tells_is_measured(tmp_path):
    export = TableExport(tmp_path, width=48, hidden_size=None)
    model = Embedder(export.finish(export.states, (*TOKENS, "width")))
    assert model.dimension == 48
    np.testing.assert_allclose(model.encode(TEXTS), export.means(TEXTS), rtol=0, atol=1e-5)


def test_a_width_that_differs_from_run_to_run(tmp_path):
    export = TableExport(tmp_path, hidden_size=None)
    width = export.node("Mul", export.length, export.ints(4))
    model = Embedder(export.finish(export.cut(export.states, 2, width), (*TOKENS, "width")))
    assert model.dimension == 8
    with pytest.raises(ModelError, match=r"of 1 rows of 3 tokens is of shape \[1, 3, 12\]; supported: \[1, 3, 8\]"):
        model.encode("paris")


def test_sentence_embedding_of_a_width_of_its_own(tmp_path):
    # What a Dense module behind the pooling gives; hidden_size in config.json is of no account.
    export = TableExport(tmp_path, width=48)
    means = export.node("ReduceMax", export.states, axes=[1], keepdims=0)
    model = Embedder(export.finish(means, ("batch_size", "width"), "sentence_embedding"))
    assert (model.dimension, model.pooling) == (48, "sentence_embedding")
    expected = export.table[export.checkpoint.tokenize("paris")].max(0)
    np.testing.assert_allclose(model.encode("paris"), expected, rtol=0, atol=1e-5)


def test_sentence_embedding_of_another_number_of_rows(export):
    pooled = export.node("ReduceMean", export.states, axes=[0], keepdims=0)
    folder = export.finish(pooled, ("batch_size", WIDTH), "sentence_embedding")
    with pytest.raises(
        ModelError, match=r"`sentence_embedding` .* shape \[2, 32\]; supported: \[1, 32\]: rows and width"
    ):
        Embedder(folder)


def test_sentence_embedding_of_fewer_rows(export):
    pooled = export.node("ReduceMean", export.states, axes=[1], keepdims=0)
    folder = export.finish(export.cut(pooled, 0, 2), ("batch_size", WIDTH), "sentence_embedding")
    model = Embedder(folder)
    assert model.encode(TEXTS[:2]).shape == (2, WIDTH)
    with pytest.raises(
        ModelError, match=r"`sentence_embedding` of 4 rows .* is of shape \[2, 32\]; supported: \[4, 32\]"
    ):
        model.encode(TEXTS)


def test_a_graph_that_cannot_run_is_refused_at_once(export):
    states = export.node("Reshape", export.states, export.ints(5, 7, -1))
    folder = export.finish(states, ("a", "b", "c"))
    with pytest.raises(ModelError, match=r"model\.onnx: ONNX Runtime refused the model: "):
        Embedder(folder)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_component_that_is_no_number(tmp_path, value, normalize):
    export = TableExport(tmp_path, poisoned=("cat", 20, value))
    model = Embedder(export.finish(export.states))
    texts = ["mat", "cat", "dog", "cat dog", "mat"]
    with pytest.raises(
        ModelError, match=r"model\.onnx: NaN or infinite components in the vector of texts\[1\], texts\[3\];"
    ):
        model.encode(texts, normalize_embeddings=normalize)
    with pytest.raises(ModelError, match=r"in the vector of texts\[0\], texts\[1\], .*, texts\[4\] and 2 more;"):
        model.encode(
            [f"cat {word}" for word in list(export.checkpoint.vocabulary)[5:12]], normalize_embeddings=normalize
        )
    good = model.encode(texts[::2], normalize_embeddings=False)
    np.testing.assert_allclose(good, export.means(texts[::2]), rtol=0, atol=1e-5)
    # What truncation drops is not looked at.
    assert np.isfinite(model.encode(texts, truncate_dim=20, normalize_embeddings=normalize)).all()


def test_a_checkpoint_with_a_token_that_is_no_number(tmp_path):
    checkpoint = write_bert(tmp_path / "bert")
    name = "embeddings.word_embeddings.weight"
    tensors = {key: ("F32", values) for key, values in checkpoint.tensors.items()}
    table = checkpoint.tensors[name].copy()
    table[checkpoint.vocabulary["cat"], 3] = np.nan
    write_safetensors(checkpoint.folder / "model.safetensors", {**tensors, name: ("F32", table)})
    model = Embedder(checkpoint.folder)
    with pytest.raises(ModelError, match=r"bert.?: NaN or infinite components in the vector of texts\[2\];"):
        model.encode(["mat", "dog", "cat", "red"])
    assert np.isfinite(model.encode(["mat", "dog", "red"])).all()


def test_a_maximum_over_no_token(tmp_path):
    # A tokenizer that adds nothing leaves an empty text without tokens.
    checkpoint = write_bert(tmp_path / "bert", pooling="max", tokenizer_overrides={"post_processor": None})
    write_encoder_export(checkpoint.folder / "model.onnx", checkpoint)
    for path in (checkpoint.folder, checkpoint.folder / "model.onnx"):
        model = Embedder(path)
        with pytest.raises(ModelError, match=r"in the vector of texts\[1\]; .*or `max` pools no token"):
            model.encode(["paris", "", "cat"])
        assert np.isfinite(model.encode(["paris", "cat"])).all()
