"""`ironvec inspect` and `ironvec.inspect`: what a model is made of and whether it runs, from headers alone. What CoreML
would take is in `test_inspect.py`."""

import json
import os
import shutil
import time

import pytest

import ironvec
from ironvec import Embedder, ModelError
from ironvec.cli import main
from ironvec.inspection import inspect as inspect_graph
from ironvec.plain_text import size
from kit.checkpoints import write_bert
from kit.onnx_export import write_decoder_export, write_encoder_export
from kit.onnx_protobuf import varint
from kit.published_export import write_published_export
from kit.qwen3_checkpoints import write_qwen3


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The export of the first validation's size, beside a tokenizer."""
    checkpoint = write_qwen3(tmp_path_factory.mktemp("published") / "qwen3")
    for name in ("model.safetensors", "config.json"):
        (checkpoint.folder / name).unlink()
    write_published_export(checkpoint.folder / "onnx" / "model.onnx")
    return checkpoint.folder / "onnx" / "model.onnx"


@pytest.fixture
def decoder(tmp_path):
    checkpoint = write_qwen3(tmp_path / "qwen3", layers=3)
    write_decoder_export(checkpoint.folder / "model.onnx", checkpoint, external_data=True)
    return checkpoint.folder / "model.onnx"


def lines_of(capsys, *arguments: str) -> str:
    assert main(["inspect", *arguments]) == 0
    return capsys.readouterr().out


def test_what_the_first_validation_found(published, capsys):
    out = lines_of(capsys, str(published))
    assert "57 inputs\n" in out
    assert "57 outputs\n" in out
    assert "  56 \xd7 past_key_values.N.key/value  float32 [batch_size, 8,\n" in out
    assert "  56 \xd7 present.N.key/value  float32 [batch_size, 8, past_sequence_length, 128]\n" in out
    assert "  com.microsoft: 56 SkipSimplifiedLayerNormalization, 28 GroupQueryAttention\n" in out
    assert "operator sets  ai.onnx 17, com.microsoft 1\n" in out
    assert "weights in     model.onnx_data: 2.4 GB, there and long enough\n" in out
    assert "ironvec      runs it from the ONNX file\n" in out
    assert "  large: weight_3 [151669, 1024]\n  A table with more than 16,384 rows stays on the CPU.\n" in out
    # The path is one word.
    assert max(map(len, out.splitlines()[1:])) <= 80
    fixed = inspect_graph(published, dimensions={"batch_size": 1, "sequence_length": 8, "past_sequence_length": 2})
    assert "its table has a dimension over 16384" in next(
        entry["reason"] for entry in fixed["refused"] if entry["op"] == "Gather"
    )


def test_the_record_is_one_for_programs_too(published, capsys):
    report = json.loads(lines_of(capsys, str(published), "--json"))
    assert report == ironvec.inspect(published)
    assert (report["ir_version"], report["producer"]) == (8, "ironvec tests")
    assert (report["dimension"], report["pooling"], report["runs_from"]) == (1024, ["lasttoken"], "onnx")
    assert len(report["inputs"]) == len(report["outputs"]) == 57
    assert report["external_data"] == {
        "model.onnx_data": {"tensors": 256, "bytes_needed": 2_399_854_592, "bytes_there": 2_399_854_592}
    }
    assert report["weights"] == {"float32": {"tensors": 256, "numbers": 599_963_648, "bytes": 2_399_854_592}}
    assert report["parameters"] == 599_963_648
    # All that `inspect --json` gave before is still there, under its names.
    assert report | inspect_graph(published) == report


def of_two_gigabytes(path):
    """A file whose one weight of 2 GB is a hole in itself; a small constant behind it is read."""
    length = (1 << 31) - 4096
    weight = b"\x08" + varint(length // 4) + b"\x10\x01" + b"\x42\x06weight"
    tensor = len(weight) + 1 + len(varint(length)) + length
    node = b"\x0a\x01x" + b"\x0a\x06weight" + b"\x12\x01y" + b"\x22\x03Add"

    def value(number, name):
        # float32 [0x1ffffc00], as the weight
        shape = b"\x0a" + varint(1 + len(varint(length // 4))) + b"\x08" + varint(length // 4)
        kind = b"\x08\x01\x12" + varint(len(shape)) + shape
        body = b"\x0a\x01" + name + b"\x12" + varint(2 + len(kind)) + b"\x0a" + varint(len(kind)) + kind
        return bytes([number << 3 | 2]) + varint(len(body)) + body

    around = b"\x0a" + varint(len(node)) + node + value(11, b"x") + value(12, b"y")
    graph = len(around) + 1 + len(varint(tensor)) + tensor
    with path.open("wb") as file:
        file.write(b"\x08\x08\x42\x02\x10\x11\x3a" + varint(graph) + around)
        file.write(b"\x2a" + varint(tensor) + weight + b"\x4a" + varint(length))
        file.seek(length, os.SEEK_CUR)
        file.truncate()


@pytest.mark.parametrize("where", ["beside", "inside"])
def test_two_gigabytes_take_less_than_half_a_second(where, published, tmp_path):
    path = published
    if where == "inside":
        path = tmp_path / "model.onnx"
        of_two_gigabytes(path)
        assert path.stat().st_size > 2_140_000_000
    ironvec.inspect(path)  # opens ONNX Runtime, once
    started = time.process_time()
    report = ironvec.inspect(path)
    assert time.process_time() - started < 0.5
    assert report["weights"]["float32"]["bytes"] > 2_140_000_000
    assert report["nodes"] == (372 if where == "beside" else 1)
    assert "coreml_refused" not in report


def test_a_data_file_that_is_short_or_missing_is_said(decoder, capsys):
    data = decoder.with_name("model.onnx_data")
    whole = data.read_bytes()
    assert f"model.onnx_data: {size(len(whole))}, there and long enough" in lines_of(capsys, str(decoder))
    data.write_bytes(whole[:-1])
    short = lines_of(capsys, str(decoder))
    assert f"model.onnx_data: too short, {len(whole) - 1:,} bytes of the {len(whole):,} needed\n" in short
    assert "ironvec      does not run it: model.onnx_data, which holds " in short
    data.unlink()
    assert f"model.onnx_data: {size(len(whole))} needed, and the file is not there\n" in lines_of(capsys, str(decoder))
    assert ironvec.inspect(decoder)["runs_from"] is None


def test_a_checkpoint_is_described_as_it_is_loaded(tmp_path, capsys):
    checkpoint = write_bert(tmp_path / "bert", pooling=["cls", "mean"], prompts={"query": "search:\n"}, dtype="float16")
    report = ironvec.inspect(checkpoint.folder)
    model = Embedder(checkpoint.folder)
    assert report["runs_from"] == "checkpoint"
    assert (report["dimension"], report["max_length"]) == (model.dimension, model.max_length)
    assert ("+".join(report["pooling"]), report["normalize"]) == (model.pooling, model.normalize)
    assert report["family"] == "bert"
    assert report["vocabulary"] == len(checkpoint.vocabulary)
    assert report["parameters"] == sum(values.size for values in checkpoint.tensors.values())
    assert list(report["weights"]) == ["float16"]
    out = lines_of(capsys, str(checkpoint.folder))
    assert "  ironvec      runs it from the checkpoint\n" in out
    assert "  pooling      cls + mean\n" in out
    assert '  prompts      query: "search:\\n"\n' in out
    assert "ONNX" not in out


def test_an_alias_and_its_prompts(capsys):
    out = lines_of(capsys, "minilm")
    assert out.startswith("sentence-transformers/all-MiniLM-L6-v2\n")
    assert "  parameters   22,713,216\n" in out


def test_the_other_files_of_a_folder_are_named(decoder, capsys):
    folder = decoder.parent
    out = lines_of(capsys, str(folder))
    assert "runs it from the checkpoint" in out
    assert "Other ONNX files in the folder\n  model.onnx  " in out
    sized = lines_of(capsys, str(folder), "--file", "model.onnx", "--fix", "batch_size=1")
    assert sized.startswith("model.onnx: ")
    named = json.loads(lines_of(capsys, str(folder), "--file", "model.onnx", "--json"))
    assert (named["runs_from"], named["path"]) == ("onnx", str(decoder))


def test_what_is_not_run_is_described_and_says_why(tmp_path, capsys):
    checkpoint = write_bert(tmp_path / "bert")
    config = checkpoint.folder / "config.json"
    config.write_text(json.dumps({**checkpoint.config, "model_type": "unheard-of"}))
    out = lines_of(capsys, str(checkpoint.folder))
    assert "  ironvec     does not run it:\n" in out
    assert "unheard-of" in out
    assert "float32" in out
    with pytest.raises(ModelError, match="unheard-of"):
        Embedder(checkpoint.folder)
    config.write_text(json.dumps(checkpoint.config))
    (checkpoint.folder / "tokenizer.json").unlink()
    assert "tokenizer.json: no such file" in " ".join(lines_of(capsys, str(checkpoint.folder)).split())
    shutil.rmtree(checkpoint.folder / "1_Pooling")
    report = ironvec.inspect(checkpoint.folder)
    assert report["runs_from"] is None
    assert "1_Pooling" in str(report["why_not"])


def test_inputs_that_nobody_fills_are_why_not(tmp_path):
    checkpoint = write_bert(tmp_path / "bert")
    path = checkpoint.folder / "model.onnx"
    write_encoder_export(path, checkpoint, extra_input="bbox")
    report = ironvec.inspect(path)
    with pytest.raises(ModelError) as error:
        Embedder(path)
    # The words differ only in how ONNX Runtime and the file spell a type.
    assert str(report["why_not"]).split("is ")[0] == str(error.value).split("is ")[0]
    assert report["nodes"] > 0
    write_encoder_export(path, checkpoint, sentence_embedding=True)
    assert ironvec.inspect(path)["pooling"] == ["sentence_embedding"]


@pytest.mark.skipif(os.name != "posix", reason="file names are Unicode elsewhere")
def test_names_that_are_not_unicode(tmp_path, capsys):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/\xff-bert")
    shutil.copytree(write_bert(tmp_path / "bert").folder, folder)
    report = ironvec.inspect(folder)
    assert (report["path"], report["runs_from"]) == (folder, "checkpoint")
    assert list(report["weight_files"]) == [os.path.join(folder, "model.safetensors")]
    assert "\\udcff-bert" in lines_of(capsys, folder)
    assert json.loads(lines_of(capsys, folder, "--json"))["path"] == folder


def test_a_model_that_is_nowhere(tmp_path, capsys):
    assert main(["inspect", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("ironvec: error: no model at ")
    (tmp_path / "weights.bin").write_bytes(b"x")
    assert main(["inspect", str(tmp_path / "weights.bin")]) == 2
    assert "expected the folder of a checkpoint or an ONNX file" in capsys.readouterr().err
