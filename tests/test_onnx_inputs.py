"""What an ONNX file's inputs say of padding and positions: without an `attention_mask` no row is padded, and positions
count as the family in config.json counts them. Float32 within 1e-5 of the checkpoint's reference."""

import json

import numpy as np
import pytest

from ironvec import Embedder, ModelError
from kit import bert_reference
from kit.checkpoints import write_bert
from kit.onnx_export import write_encoder_export
from kit.table_export import TableExport

TEXTS = [
    "",
    "paris",
    "the capital of france is paris",
    "cook pasta in water",
    "a",
    "the cat",
    "cook pasta in water boil",
]
LONG = "the cat sat on the mat " * 20
POSITIONS = "embeddings.position_embeddings.weight"


def write_export(folder, overrides=None, *, max_positions=64, table_rows=None, **options):
    """A BERT's ONNX file under a config.json of another family; the table of positions may have rows beyond it."""
    checkpoint = write_bert(folder, max_positions=table_rows or max_positions)
    (checkpoint.folder / "model.safetensors").unlink()
    config = {**checkpoint.config, "max_position_embeddings": max_positions, **(overrides or {})}
    (checkpoint.folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    write_encoder_export(checkpoint.folder / "model.onnx", checkpoint, **options)
    return checkpoint


def reference(checkpoint, rows, first_position=0):
    tensors = {**checkpoint.tensors, POSITIONS: checkpoint.tensors[POSITIONS][first_position:]}
    return bert_reference.embed(tensors, checkpoint.config, rows, pooling=checkpoint.pooling)


def rows_of(checkpoint, texts, longest=None):
    rows = [checkpoint.tokenize(text) for text in texts]
    return [row if longest is None or len(row) <= longest else [*row[: longest - 1], row[-1]] for row in rows]


@pytest.mark.parametrize("options", [{}, {"sentence_embedding": True}, {"position_ids": True}], ids=str)
def test_without_an_attention_mask_nothing_is_padded(tmp_path, options):
    checkpoint = write_export(tmp_path / "bert", attention_mask=False, **options)
    model = Embedder(checkpoint.folder)
    expected = reference(checkpoint, rows_of(checkpoint, TEXTS))
    np.testing.assert_allclose(model.encode(TEXTS), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.stack([model.encode(text) for text in TEXTS]), expected, rtol=0, atol=1e-5)
    order = np.random.default_rng(5).permutation(len(TEXTS))
    shuffled = model.encode([TEXTS[index] for index in order], batch_size=3)
    np.testing.assert_allclose(shuffled, expected[order], rtol=0, atol=1e-5)


def test_without_an_attention_mask_rows_of_a_length_still_run_together(tmp_path):
    export = TableExport(tmp_path, attention_mask=False)
    rows = export.cast(export.rows, "float32")
    model = Embedder(export.finish(export.node("Add", export.states, rows)))
    texts = ["cat", "the cat", "dog", "the cat sat", "red", "the mat", "paris"]
    run_with = [4, 2, 4, 1, 4, 2, 4]
    expected = export.means(texts) + np.array(run_with, dtype=np.float32)[:, None]
    np.testing.assert_allclose(model.encode(texts), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "padding", "first"),
    [
        ("bert", 1, 0),
        ("roberta", 1, 2),
        ("roberta", 0, 1),
        ("roberta", None, 2),
        ("xlm-roberta", 1, 2),
        ("camembert", 1, 2),
        ("mpnet", 1, 2),
        ("mpnet", 7, 2),
        ("nystromformer", 1, 2),
    ],
)
def test_positions_count_as_the_family_does(tmp_path, family, padding, first):
    overrides = {"model_type": family, "pad_token_id": padding}
    table_rows = 66 if family == "nystromformer" else 64
    checkpoint = write_export(tmp_path / "export", overrides, table_rows=table_rows, position_ids=True)
    model = Embedder(checkpoint.folder)
    longest = table_rows - first
    assert model.max_length == longest
    texts = [*TEXTS, LONG]
    expected = reference(checkpoint, rows_of(checkpoint, texts, longest), first)
    np.testing.assert_allclose(model.encode(texts), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.stack([model.encode(text) for text in texts]), expected, rtol=0, atol=1e-5)


def test_the_padding_token_in_a_text_takes_no_position(tmp_path):
    # As transformers has it: an unknown word's id is `pad_token_id` here.
    checkpoint = write_export(tmp_path / "export", {"model_type": "roberta", "pad_token_id": 1}, position_ids=True)
    (row,) = rows_of(checkpoint, ["cat 漢字 mat"])
    assert row[2] == 1
    table = checkpoint.tensors[POSITIONS]
    tensors = {**checkpoint.tensors, POSITIONS: table[[2, 3, 1, 4, 5]]}
    expected = bert_reference.embed(tensors, checkpoint.config, [row], pooling=checkpoint.pooling)
    np.testing.assert_allclose(Embedder(checkpoint.folder).encode(["cat 漢字 mat"]), expected, rtol=0, atol=1e-5)


def test_a_graph_that_counts_from_padding_itself_is_as_short(tmp_path):
    overrides = {"model_type": "xlm-roberta", "pad_token_id": 1}
    checkpoint = write_export(tmp_path / "export", overrides, first_position=2)
    model = Embedder(checkpoint.folder)
    assert model.max_length == 62
    expected = reference(checkpoint, rows_of(checkpoint, [*TEXTS, LONG], 62), 2)
    np.testing.assert_allclose(model.encode([*TEXTS, LONG]), expected, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match=r"max_length=63: expected 3 to 62 \(the model's positions\)"):
        Embedder(checkpoint.folder, max_length=63)


def test_padding_beyond_the_table_of_positions(tmp_path):
    checkpoint = write_export(tmp_path / "export", {"model_type": "roberta", "pad_token_id": 64})
    with pytest.raises(ModelError, match=r"config\.json: max_position_embeddings is 64; supported: .* from 66 to "):
        Embedder(checkpoint.folder)


@pytest.mark.parametrize("missing", ["config.json", "model_type"])
def test_positions_of_an_unknown_family_are_refused(tmp_path, missing):
    checkpoint = write_export(tmp_path / "export", {"model_type": None}, position_ids=True)
    if missing == "config.json":
        (checkpoint.folder / missing).unlink()
    with pytest.raises(
        ModelError, match=r"model\.onnx: input `position_ids` is .*supported: a config\.json with model_type"
    ):
        Embedder(checkpoint.folder)
    write_encoder_export(checkpoint.folder / "model.onnx", checkpoint)
    assert Embedder(checkpoint.folder).encode("paris").shape == (32,)
