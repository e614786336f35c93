"""The first validation script's function, and the script itself after its change of three lines."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ironvec import Embedder, get_detailed_instruct
from kit.onnx_export import write_decoder_export
from kit.qwen3_checkpoints import write_qwen3
from kit.qwen3_reference import of_texts
from kit.vectors import close

SCRIPT = Path(__file__).parents[1] / "examples" / "old_script.py"
TASK = "Given a web search query, retrieve relevant passages that answer the query"
QUERIES = ["What is the capital of France?", "How do I cook pasta?"]
DOCUMENTS = ["Paris is the capital of France.", "Boil the pasta in salted water for ten minutes."]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_qwen3(tmp_path_factory.mktemp("old") / "qwen3")


@pytest.fixture(scope="module")
def model(checkpoint):
    return Embedder(checkpoint.folder)


@pytest.mark.parametrize("normalize", [True, False])
def test_embed_texts_is_the_old_function(checkpoint, model, normalize):
    instructed = [get_detailed_instruct(TASK, query) for query in QUERIES]
    embeddings, metadata = model.embed_texts(QUERIES, TASK, normalize=normalize)
    close(embeddings, of_texts(checkpoint, instructed, normalize=normalize))
    assert metadata["batch_size"] == 2
    assert metadata["seq_len"] == max(len(checkpoint.tokenize(text)) for text in instructed)
    plain, metadata = model.embed_texts(DOCUMENTS, normalize=normalize)
    close(plain, of_texts(checkpoint, DOCUMENTS, normalize=normalize))
    assert metadata["seq_len"] == max(len(checkpoint.tokenize(text)) for text in DOCUMENTS)


def test_the_times_are_those_of_the_call(model):
    _, metadata = model.embed_texts(DOCUMENTS)
    assert set(metadata) == {"tokenize_ms", "inference_ms", "pool_ms", "total_ms", "batch_size", "seq_len"}
    assert metadata["tokenize_ms"] > 0
    assert metadata["inference_ms"] > 0
    assert metadata["pool_ms"] == 0
    assert metadata["total_ms"] >= metadata["tokenize_ms"] + metadata["inference_ms"]


def test_texts_are_cut_where_the_model_or_the_caller_says(checkpoint, model):
    texts = ["cat " * 600]
    _, metadata = model.embed_texts(texts)
    assert metadata["seq_len"] == 512
    cut, metadata = model.embed_texts(texts, max_length=7)
    assert metadata["seq_len"] == 7
    close(cut, model.encode(texts, max_length=7))
    short = Embedder(checkpoint.folder, max_length=9)
    assert short.embed_texts(texts)[1]["seq_len"] == 9


def test_no_prompt_of_the_models_own_is_added(checkpoint):
    model = Embedder(checkpoint.folder, default_prompt_name="query")
    close(model.embed_texts(QUERIES)[0], of_texts(checkpoint, QUERIES))
    close(model.embed_texts(QUERIES, "")[0], of_texts(checkpoint, QUERIES))


def test_what_is_no_text_is_named(model):
    embeddings, metadata = model.embed_texts([])
    assert embeddings.shape == (0, model.dimension)
    assert (metadata["batch_size"], metadata["seq_len"]) == (0, 0)
    assert model.embed_texts("one text")[0].shape == (model.dimension,)
    with pytest.raises(TypeError, match=r"texts\[1\] is int, not str"):
        model.embed_texts(["a", 3], TASK)
    with pytest.raises(TypeError, match="task_description is int, not str"):
        model.embed_texts(["a"], 3)
    with pytest.raises(ValueError, match="max_length is 0"):
        model.embed_texts(["a"], max_length=0)


def test_a_task_is_a_prompt(checkpoint, model):
    expected = of_texts(checkpoint, [f"Instruct: {TASK}!\nQuery:{query}" for query in QUERIES])
    close(model.encode_query(QUERIES, task=f"{TASK}!"), expected)
    close(model.encode_query(QUERIES, task=TASK), model.encode_query(QUERIES))
    for other in ({"prompt": "x"}, {"prompt_name": "query"}):
        with pytest.raises(ValueError, match="task makes a prompt of its own"):
            model.encode_query(QUERIES, task=TASK, **other)
    with pytest.raises(TypeError, match="task is int, not str"):
        model.encode_query(QUERIES, task=3)


@pytest.mark.parametrize("form", ["checkpoint", "export"])
def test_the_changed_script_prints_the_old_numbers(checkpoint, tmp_path, form):
    model = checkpoint.folder
    if form == "export":
        shutil.copytree(checkpoint.folder, tmp_path / "export", ignore=shutil.ignore_patterns("*.safetensors"))
        model = tmp_path / "export" / "onnx" / "model.onnx"
        model.parent.mkdir()
        write_decoder_export(model, checkpoint)
    command = [sys.executable, str(SCRIPT), str(model)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    size = checkpoint.config["hidden_size"]
    assert printed[0] == f"Shapes: (2, {size}) (2, {size})"
    queries = of_texts(checkpoint, [get_detailed_instruct(TASK, query) for query in QUERIES])
    expected = queries @ of_texts(checkpoint, DOCUMENTS).T
    for line, query, row in zip(printed[1:3], QUERIES, expected, strict=True):
        assert line.startswith(query)
        scores = [float(score) for score in line.removeprefix(query).split()]
        np.testing.assert_allclose(scores, row, rtol=0, atol=2e-5)
    assert [line.split(":")[0] for line in printed[3:]] == ["queries", "documents"]
