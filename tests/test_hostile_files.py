"""Model folders that are broken, hostile or unsupported: a clear exception that names the file and the field, never a
crash, a hang or a panic. Broken tokenizers are in `test_hostile_texts.py`."""

import json
import os
import re
import struct
import threading
from pathlib import Path

import numpy as np
import pytest

from ironvec import Embedder, ModelError
from kit.checkpoints import safetensors_bytes, write_json, write_safetensors

F32 = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
TWO = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
LATER = {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}
NEEDED = "encoder.layer.1.output.dense.bias"  # of shape (32,)


def refused(folder, message: str, error: type[Exception] = ModelError) -> None:
    """`message` follows the path of the file that it starts with."""
    with pytest.raises(error, match=re.escape(str(folder) + os.sep) + message):
        Embedder(folder)


# --- model.safetensors


CONTAINERS = {
    "empty": (b"", "the file is empty"),
    "three bytes": (b"\x02\0\0", "shorter than the 8 bytes"),
    "a header of 2^60 bytes": (struct.pack("<Q", 1 << 60), "its header claims more than 100 MB"),
    "a header of 2^64 - 1 bytes": (b"\xff" * 64, "its header claims more than 100 MB"),
    "a header longer than the file": (struct.pack("<Q", 1000) + b"{}", "its header is longer than the file"),
    "a header of no bytes": (bytes(8), "its header is not JSON of tensors"),
    "a header that is not UTF-8": (struct.pack("<Q", 4) + b'{"\xff}', "its header is not UTF-8"),
    "a header that is not JSON": (struct.pack("<Q", 8) + b"not json", "its header is not JSON of tensors"),
    "a git-lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a git-lfs pointer"),
    "a list": (struct.pack("<Q", 2) + b"[]", "its header is not JSON of tensors"),
    "not of tensors": (safetensors_bytes({"a": [1, 2]}, b""), "its header is not JSON of tensors"),
    "deep JSON": (struct.pack("<Q", 200_000) + b"[" * 200_000, "its header is not JSON of tensors"),
    "metadata that are numbers": (safetensors_bytes({"__metadata__": {"a": 1}}, b""), "not JSON of tensors"),
    "a dtype of its own": (safetensors_bytes({"a": {**F32, "dtype": "F33"}}, bytes(4)), "not JSON of tensors: .*F33"),
    "a negative size": (safetensors_bytes({"a": {**F32, "shape": [-1]}}, bytes(4)), "not JSON of tensors"),
    "overlapping": (safetensors_bytes({"a": TWO, "b": LATER}, bytes(8)), "offsets of tensor `b` overlap"),
    "a gap": (
        safetensors_bytes({"a": F32, "b": {**F32, "data_offsets": [8, 12]}}, bytes(12)),
        "the offsets of tensor `b` overlap another's, or leave a gap",
    ),
    "backward offsets": (safetensors_bytes({"a": {**F32, "data_offsets": [4, 0]}}, bytes(4)), "offsets of tensor `a`"),
    "out of bounds": (safetensors_bytes({"a": TWO}, bytes(4)), "its tensors do not end where the file ends"),
    "bytes after the end": (safetensors_bytes({"a": F32}, bytes(5)), "its tensors do not end where the file ends"),
    "offsets beside the shape": (safetensors_bytes({"a": {**F32, "shape": [3]}}, bytes(4)), "do not match its shape"),
    "a shape that overflows": (
        safetensors_bytes({"a": {**F32, "shape": [1 << 40, 1 << 40]}}, bytes(4)),
        "shape is larger than any memory",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), CONTAINERS.values(), ids=CONTAINERS)
def test_containers_that_are_no_safetensors(bert, content, message):
    folder = bert().folder
    (folder / "model.safetensors").write_bytes(content)
    refused(folder, f"model.safetensors: .*{message}")


@pytest.mark.parametrize("cut", [1, 1000, -9, -4000])
def test_truncated_weights(bert, cut):
    path = bert().folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: cut if cut < 0 else 8 + cut])
    kind = "do not end where the file ends" if cut < 0 else "header is longer than the file"
    refused(path.parent, f"model.safetensors: .*{kind}.*truncated download")


@pytest.mark.parametrize(
    ("dtype", "values", "message"),
    [
        (None, None, "found nothing of that name, expected a tensor of shape [32]"),
        ("F32", np.zeros(31), "found shape [31], expected shape [32]"),
        ("F32", np.zeros((32, 1)), "found shape [32, 1], expected shape [32]"),
        ("F32", np.zeros(()), "found shape [], expected shape [32]"),
        ("F32", np.zeros((0, 1 << 40)), f"found shape [0, {1 << 40}], expected shape [32]"),
        ("I64", np.zeros(32), "found dtype I64, expected F32, F16 or BF16"),
        ("F64", np.zeros(32), "found dtype F64, expected F32, F16 or BF16"),
    ],
)
def test_tensors_that_do_not_fit(bert, dtype, values, message):
    checkpoint = bert()
    tensors = {name: ("F32", tensor) for name, tensor in checkpoint.tensors.items()}
    del tensors[NEEDED]
    if dtype is not None:
        tensors[NEEDED] = (dtype, values)
    write_safetensors(checkpoint.folder / "model.safetensors", tensors)
    refused(checkpoint.folder, re.escape(f"model.safetensors: tensor `{NEEDED}`: {message}"))


def _fifo(path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("needs named pipes")
    os.mkfifo(path)


def _unreadable(path: Path) -> None:
    path.write_bytes(b"{}")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user reads everything")


STAND_INS = {
    "a folder": (Path.mkdir, ModelError, "not a regular file|cannot be read"),
    "a pipe": (_fifo, ModelError, "not a regular file|cannot be read"),
    "unreadable": (_unreadable, ModelError, "cannot be read: Permission denied"),
    "nothing": (lambda path: None, FileNotFoundError, "no such file"),
    "a broken link": (lambda path: path.symlink_to("nowhere"), FileNotFoundError, "no such file"),
    "a link to itself": (lambda path: path.symlink_to(path.name), ModelError, "cannot be read"),
}


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "modules.json", "tokenizer.json"])
@pytest.mark.parametrize("stand_in", STAND_INS)
def test_things_in_place_of_a_file(bert, name, stand_in):
    if name == "modules.json" and stand_in == "nothing":
        pytest.skip("a folder may be without modules.json")
    make, error, message = STAND_INS[stand_in]
    folder = bert().folder
    (folder / name).unlink()
    make(folder / name)
    raised: list[Exception] = []

    def load() -> None:
        try:
            Embedder(folder)
        except Exception as caught:
            raised.append(caught)

    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    thread.join(timeout=3)
    if thread.is_alive():
        os.close(os.open(folder / name, os.O_WRONLY | os.O_NONBLOCK))  # lets the reader of the pipe go
        pytest.fail(f"waits for {name} forever")
    assert [type(caught) for caught in raised] == [error]
    assert re.match(re.escape(str(folder / name)) + f": .*({message})", str(raised[0]))


# --- config.json


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not valid JSON"),
        ('{"model_type": "\udcff"}', "not valid JSON"),
        ("[]", "expected a JSON object, found an array"),
        ("[" * 100_000, "not valid JSON: recursion limit exceeded"),
        ('{"a":' * 100_000, "not valid JSON: recursion limit exceeded"),
        ("{}", "model_type is missing; supported: "),
        ('{"model_type": 3}', "model_type is 3; supported: a string"),
    ],
    ids=lambda value: value[:12],
)
def test_config_json_that_is_no_config(bert, content, message):
    folder = bert().folder
    (folder / "config.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    refused(folder, f"config.json: {message}")


NUMBERS = [
    "hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size", "vocab_size",
    "max_position_embeddings", "type_vocab_size",
]  # fmt: skip


@pytest.mark.parametrize("value", [0, -1, 2**31, 2**63, 10**30, 32.0, "32", True, [32], {}], ids=repr)
@pytest.mark.parametrize("field", NUMBERS)
def test_numbers_of_the_config_that_are_none(bert, field, value):
    folder = bert().folder
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", {**config, field: value})
    refused(folder, f"config.json: {field} is .*; supported: a whole number from 1 to ")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        *(("layer_norm_eps", value, "a positive number") for value in (0, -1e-5, "1e-5", 1e300, 1e-300, True)),
        ("num_attention_heads", 5, "a divisor of the hidden size, which is 32"),
        ("position_embedding_type", "relative_key", '"absolute"'),
        ("position_embedding_type", 1, "a string"),
        ("hidden_act", "mish", "gelu, gelu_new, gelu_pytorch_tanh, relu, silu"),
        ("is_decoder", True, "false"),
        ("is_decoder", "no", "true or false"),
        ("add_cross_attention", True, "false"),
        ("quantization_config", {"bits": 4}, "absent, null or empty"),
        ("auto_map", {"AutoModel": "modeling.Mine"}, "absent, null or empty"),
        ("pruned_heads", {"0": [1]}, "absent, null or empty"),
        ("model_type", "bart", '"bert"'),
        ("model_type", "BERT", '"bert"'),
        ("model_type", None, '"bert"'),
    ],
)
def test_fields_of_the_config(bert, field, value, message):
    folder = bert(config_overrides={field: value}).folder
    refused(folder, f"config.json: {field} is .*; supported: .*{re.escape(message)}")


@pytest.mark.parametrize("field", [field for field in NUMBERS if field != "num_attention_heads"])
def test_numbers_that_the_weights_contradict(bert, field):
    folder = bert().folder
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", {**config, field: config[field] + 4})
    refused(folder, "model.safetensors: tensor `.*`: found .*, expected ")


# --- sentence-transformers' files

OURS = "sentence_transformers.models."
TRANSFORMER = {"type": f"{OURS}Transformer", "path": ""}
POOLING = {"type": f"{OURS}Pooling", "path": "1_Pooling"}
MODULES = "modules.json"
POOLING_CONFIG = os.path.join("1_Pooling", "config.json")
SENTENCE = "config_sentence_transformers.json"
LENGTHS = "sentence_bert_config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (MODULES, {"0": TRANSFORMER}, "expected an array of modules"),
        (MODULES, "Transformer", "expected an array of modules"),
        (MODULES, [], "the list is 0 modules long; supported: Transformer, Pooling"),
        (MODULES, [TRANSFORMER], "the list is 1 modules long; supported: Transformer, Pooling"),
        (MODULES, [1, 2], 'module 0 has no "type": 1'),
        (MODULES, [{"path": ""}], 'module 0 has no "type"'),
        (MODULES, [{"type": 3, "path": ""}], 'module 0 has no "type"'),
        (MODULES, [{"type": f"{OURS}Transformer", "path": 3}, POOLING], "module 0.*path"),
        (MODULES, [TRANSFORMER, POOLING, {"type": f"{OURS}CNN", "path": "2"}], "module 2 is `.*CNN`; supported"),
        (MODULES, [POOLING, TRANSFORMER], "module 0 is `.*Pooling`; supported"),
        (MODULES, [TRANSFORMER, {"type": f"{OURS}Normalize", "path": "2"}], "module 1 is `.*Normalize`; supported"),
        (MODULES, [{"type": "mine.Transformer", "path": ""}, POOLING], "module 0 is `mine.Transformer`; supported"),
        (MODULES, [{"type": "Transformer", "path": ""}, POOLING], "module 0 is `Transformer`; supported"),
        *(
            (MODULES, [TRANSFORMER, {**POOLING, "path": path}], "path is .*; supported: a folder inside the model's")
            for path in ("../1_Pooling", "1_Pooling/../../x", os.path.abspath(os.sep))
        ),
        (POOLING_CONFIG, ["mean"], "expected a JSON object, found an array"),
        (POOLING_CONFIG, {"pooling_mode": "median"}, 'pooling_mode is "median"; supported: one of cls, max'),
        (POOLING_CONFIG, {"pooling_mode": 3}, "pooling_mode is 3; supported: one of cls, max"),
        (POOLING_CONFIG, {"pooling_mode": []}, r"pooling_mode is \[\]; supported: one of cls, max"),
        (POOLING_CONFIG, {"pooling_mode": ["mean", 3]}, r'pooling_mode is \["mean",3\]; supported: one of'),
        (POOLING_CONFIG, {"pooling_mode": ["x", "mean"]}, r'pooling_mode is \["x","mean"\]; supported: one of'),
        (POOLING_CONFIG, {"pooling_mode": ["max", "max"]}, r'pooling_mode is \["max","max"\]; .*each once'),
        (POOLING_CONFIG, {"pooling_mode_median_tokens": True}, "pooling_mode_median_tokens is true; supported: false"),
        (POOLING_CONFIG, {"pooling_mode_cls_token": "yes"}, 'pooling_mode_cls_token is "yes"; supported: true or'),
        (POOLING_CONFIG, {"include_prompt": 0}, "include_prompt is 0; supported: true or false"),
        (SENTENCE, [], "expected a JSON object, found an array"),
        (SENTENCE, {"prompts": ["a"]}, r'prompts is \["a"\]; supported: an object of strings'),
        (SENTENCE, {"prompts": {"query": 3}}, "prompts is .*; supported: an object of strings"),
        (SENTENCE, {"default_prompt_name": 3}, "default_prompt_name is 3; supported: a string"),
        (SENTENCE, {"default_prompt_name": "x"}, 'default_prompt_name is "x"; supported: the name of one of its'),
        (SENTENCE, {"similarity_fn_name": "jaccard"}, 'similarity_fn_name is "jaccard"; supported: cosine, dot'),
        (SENTENCE, {"truncate_dim": -4}, "truncate_dim is -4; supported: a whole number"),
        (SENTENCE, {"truncate_dim": 33}, "truncate_dim.*33.*32"),
        (SENTENCE, {"model_type": "SparseEncoder"}, 'model_type is "SparseEncoder"; supported'),
        (LENGTHS, {"max_seq_length": "64"}, 'max_seq_length is "64"; supported: a whole number'),
        (LENGTHS, {"max_seq_length": 2}, "max_seq_length.*2.*3"),
        (LENGTHS, {"do_lower_case": "no"}, 'do_lower_case is "no"; supported: true or false'),
        (TOKENIZER_CONFIG, {"model_max_length": 2}, "model_max_length.*2.*3"),
        (TOKENIZER_CONFIG, {"model_max_length": "64"}, 'model_max_length is "64"; supported'),
        (TOKENIZER_CONFIG, {"model_max_length": -5}, "model_max_length is -5; supported"),
        (TOKENIZER_CONFIG, {"truncation_side": "middle"}, 'truncation_side is "middle"; supported: "right", "left"'),
    ],
    ids=str,
)  # fmt: skip
def test_files_of_sentence_transformers(bert, file, content, message):
    folder = bert().folder
    write_json(folder / file, content)
    refused(folder, f"{re.escape(file)}: .*{message}" if file != MODULES else f"{file}: {message}")


def test_a_pooling_without_its_folder(bert):
    folder = bert().folder
    (folder / POOLING_CONFIG).unlink()
    refused(folder, f"{re.escape(POOLING_CONFIG)}: no such file; modules.json names a Pooling", FileNotFoundError)


def test_a_folder_with_nothing_in_it_and_a_file_that_is_no_folder(tmp_path):
    refused(tmp_path, "config.json: no such file; a model folder holds config.json and", FileNotFoundError)
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"model\.bin is a file; expected the folder of a checkpoint"):
        Embedder(tmp_path / "model.bin")
    with pytest.raises(FileNotFoundError, match=r"no model at .*config\.json"):
        Embedder(tmp_path / "model.bin" / "config.json")
