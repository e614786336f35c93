"""An export whose embedding table is smaller than the tokenizer's vocabulary, and folders whose names are not text."""

import os
import shutil
import sys

import numpy as np
import pytest

from ironvec import Embedder, ModelError
from kit.checkpoints import write_bert
from kit.onnx_export import write_encoder_export

WORDS = "embeddings.word_embeddings.weight"


def test_a_table_with_fewer_rows_than_the_tokenizer_has_ids_is_named(tmp_path):
    checkpoint = write_bert(tmp_path / "bert")
    path = checkpoint.folder / "model.onnx"
    whole = dict(checkpoint.tensors)
    (name,) = (name for name in whole if name.endswith(WORDS))
    texts = ["the capital of france is paris"]
    ids = Embedder(checkpoint.folder).tokenize(texts[0])
    write_encoder_export(path, checkpoint)
    good = Embedder(path).encode(texts)
    checkpoint.tensors[name] = whole[name][: max(ids)]
    write_encoder_export(path, checkpoint)
    with pytest.raises(ModelError, match=rf"model\.onnx: .*table of node `.*` has .*token ids? .*{max(ids)}"):
        Embedder(path).encode(texts)
    checkpoint.tensors[name] = whole[name][: max(ids) + 1]
    write_encoder_export(path, checkpoint)
    assert np.array_equal(Embedder(path).encode(texts), good)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_folder_that_is_not_text_is_refused_by_name(tmp_path):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/bert-\xff")
    shutil.move(write_bert(tmp_path / "bert").folder, folder)
    with pytest.raises(ModelError, match="its name is not UTF-8, which ONNX Runtime needs"):
        Embedder(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_an_export_into_such_a_folder_tells_its_true_name(tmp_path):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/out-\xff")
    os.mkdir(folder)
    (written,) = Embedder(write_bert(tmp_path / "bert").folder).export(os.path.join(folder, "model.onnx"))
    assert os.path.isfile(written)
