"""Tokenizers and graphs that would make a short text long, or a run endless: refused by name, or ended by Ctrl-C."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ironvec import Embedder, ModelError
from kit.onnx_export import TOKENS
from kit.onnx_protobuf import GraphWriter


def replace(pattern: str, content: str, kind: str = "String") -> dict[str, Any]:
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def normalizers(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"normalizer": {"type": "Sequence", "normalizers": steps}}


def pre_tokenizers(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}


META = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
LETTERS = {"type": "FixedLength", "length": 1}
CROWD = {
    "type": "TemplateProcessing", "pair": [],
    "single": [{"SpecialToken": {"id": "X", "type_id": 0}}] * 1000 + [{"Sequence": {"id": "A", "type_id": 0}}],
    "special_tokens": {"X": {"id": "X", "ids": [2] * 1000, "tokens": ["x"] * 1000}},
}  # fmt: skip
WORD_PIECE = {"type": "WordPiece", "unk_token": "[UNK]", "vocab": {"[UNK]": 1, "a": 2, "##a": 3}}
NORMAL = {"continuing_subword_prefix": "##", "max_input_chars_per_word": 100}

REFUSED = {
    "one replacement": (normalizers(replace("a", "a" * 17)), r"normalizer \(Replace, step 1\).*becomes up to 17"),
    "a chain of them": (normalizers(*[replace("a", "aa")] * 40), r"normalizer \(Replace, step 5\).*up to 32; "),
    "nested": (normalizers(*[normalizers(replace("a", "aaa"))["normalizer"]] * 3), r"normalizer \(Replace, step 3\)"),
    "of matches of nothing": (normalizers(replace("", "x" * 16, "Regex")), r"normalizer \(Replace, step 1\)"),
    "a long prefix": (normalizers({"type": "Prepend", "prepend": "x" * 99}), r"normalizer \(Prepend, step 1\)"),
    "met by an added token": (
        {**normalizers(*[replace("a", "a" * 8)] * 40),
         "added_tokens": [{"id": 5, "content": "aaaa", "single_word": False, "lstrip": False, "rstrip": False,
                           "normalized": True, "special": False}]}, r"normalizer \(Replace, step 2\)"),
    "many steps": (normalizers(*[{"type": "Lowercase"}] * 65), "steps of normalizer is 65; supported: at most 64"),
    "prefixes of pieces": (pre_tokenizers(*[META, LETTERS] * 9), r"pre_tokenizer \(Metaspace, step 5\).*up to 64"),
    "a crowd of special tokens": ({"post_processor": CROWD}, "special tokens of post_processor is 1000000; "),
    "words without end": (
        {"model": {**WORD_PIECE, **NORMAL, "max_input_chars_per_word": 10**9}},
        "model.max_input_chars_per_word is 1000000000; supported: at most 1000"),
    "a long prefix of pieces": (
        {"model": {**WORD_PIECE, **NORMAL, "continuing_subword_prefix": "#" * 65}},
        "bytes of model.continuing_subword_prefix is 65; supported: at most 64"),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "message"), REFUSED.values(), ids=REFUSED)
def test_tokenizers_that_multiply_their_text(bert, fields, message):
    folder = bert(tokenizer_overrides=fields).folder
    with pytest.raises(ModelError, match=re.escape(str(folder / "tokenizer.json")) + f": .*{message}"):
        Embedder(folder)


ALLOWED = {
    "quotes": normalizers(replace("``", '"'), replace("''", '"'), {"type": "Lowercase"}),
    "spaces as ▁, with one before": normalizers({"type": "Prepend", "prepend": "▁"}, replace(" ", "▁")),
    "runs of spaces": normalizers(*[{"type": "NFKC"}] * 20, replace(" {2,}", " ", "Regex")),
    "metaspace": pre_tokenizers({"type": "WhitespaceSplit"}, META),
    "long words": {"model": {**WORD_PIECE, **NORMAL, "max_input_chars_per_word": 1000}},
}  # fmt: skip


@pytest.mark.parametrize("fields", ALLOWED.values(), ids=ALLOWED)
def test_tokenizers_as_they_are_published(bert, fields):
    assert np.isfinite(Embedder(bert(tokenizer_overrides=fields).folder).encode(["a cat  sat", "", "a" * 999])).all()


KINDS = {
    "WordPiece": {**WORD_PIECE, **NORMAL},
    "WordLevel": {"unk_token": "[UNK]", "vocab": {"[UNK]": 1, "a": 2, "cat": 3}},
    "BPE": {"vocab": {"a": 2, "c": 3, "t": 4, "at": 5}, "merges": [["a", "t"]], "unk_token": None},
    "Unigram": {"unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0], ["cat", -2.0]]},
}


@pytest.mark.parametrize("kind", KINDS)
def test_fields_that_a_model_does_not_have_change_nothing(bert, kind):
    found = []
    for more in ({}, {"left_over": {"of": [1, "another"]}, "max_input_chars": 100}):
        # Before the vocabulary and behind it.
        model = {"type": kind, **more, **KINDS[kind], **{f"{field}_too": value for field, value in more.items()}}
        folder = bert(tokenizer_overrides={"model": model}).folder
        found.append(Embedder(folder).encode(["a cat", "cat at"]))
    assert not np.array_equal(found[0][0], found[0][1])
    np.testing.assert_array_equal(found[0], found[1])


def test_a_panic_of_the_tokenizer_is_in_the_exception_alone(bert):
    fields = {"normalizer": {"type": "Precompiled", "precompiled_charsmap": ""}}
    code = (
        "import sys, ironvec\ntry: ironvec.Embedder(sys.argv[1]).encode('a')\nexcept ironvec.ModelError as e: print(e)"
    )
    folder = bert(tokenizer_overrides=fields).folder
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert "panicked" in done.stdout
    assert done.stderr == ""


def write_loop(path: Path, trips: int, width: int | str) -> None:
    """An export whose only work is a loop that adds 1 to its vectors, over and over; not at all for ids of 0 alone."""
    config = path.parent / "config.json"
    config.write_text(
        json.dumps({**json.loads(config.read_text(encoding="utf-8")), "hidden_size": 4}), encoding="utf-8"
    )
    body = GraphWriter(path)
    body.input("trip", "int64", [])
    body.input("go", "bool", [])
    body.input("state", "float32", (*TOKENS, 4))
    body.output(body.node("Identity", "go"), "still", "bool", [])
    body.output(body.node("Add", "state", body.constant("one", np.ones(4), "float32")), "next", "float32", (*TOKENS, 4))
    graph = GraphWriter(path)
    ids, mask = (graph.input(name, "int64", TOKENS) for name in ("input_ids", "attention_mask"))
    columns = graph.node("Unsqueeze", graph.node("Mul", ids, mask), graph.constant("axis", np.array([-1]), "int64"))
    start = graph.node("Mul", graph.cast(columns, "float32"), graph.constant("zero", np.zeros(4), "float32"))
    some = graph.node("Sign", graph.node("ReduceMax", ids, keepdims=0))
    count = graph.node("Mul", some, graph.constant("count", np.array(trips), "int64"))
    go = graph.constant("go", np.array(True), "bool")
    states = graph.node("Loop", count, go, start, body=body.graph())
    graph.output(states, "last_hidden_state", "float32", (*TOKENS, width))
    graph.save()


def test_a_loop_that_ends(bert):
    folder = bert().folder
    write_loop(folder / "model.onnx", 3, 4)
    model = Embedder(folder, file_name="model.onnx")
    np.testing.assert_allclose(model.encode("cat", normalize_embeddings=False), [3, 3, 3, 3])


ENDLESS = """
import os, signal, sys, threading, time
from ironvec import Embedder
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job is started with it ignored
model = Embedder(sys.argv[1], file_name="model.onnx")
for attempt in range(2):
    threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
    start = time.perf_counter()
    try:
        model.encode("cat")
    except KeyboardInterrupt:
        assert time.perf_counter() - start < 5
        print("stopped")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")
def test_ctrl_c_ends_a_loop_without_end(bert):
    folder = bert().folder
    write_loop(folder / "model.onnx", 2**62, 4)
    done = subprocess.run([sys.executable, "-c", ENDLESS, str(folder)], capture_output=True, text=True, timeout=100)
    assert done.stdout == "stopped\n" * 2, done.stderr
