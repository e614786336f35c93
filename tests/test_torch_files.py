"""pytorch_model.bin: the same vectors as of safetensors, in place, and without executing anything."""

import json
import sys

import numpy as np
import pytest

from ironvec import Embedder
from kit import torch_files
from kit.checkpoints import as_stored, write_bert
from kit.torch_files import Tensor, as_bytes, in_place_of_safetensors, saved, state_file

TEXTS = ["the capital of france is paris", "boil water", "", "a river in the city and a dog on the mat"]
CONTAINER = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


@pytest.mark.parametrize("dtype", CONTAINER)
@pytest.mark.parametrize("parameters", [False, True])
def test_vectors_equal_those_of_safetensors(dtype, parameters, tmp_path):
    written = write_bert(tmp_path / "model", dtype=dtype)
    expected = Embedder(written.folder).encode(TEXTS)
    in_place_of_safetensors(written.folder, saved(written.tensors, CONTAINER[dtype], parameters=parameters))
    assert (Embedder(written.folder).encode(TEXTS) == expected).all()


def test_safetensors_go_before(tmp_path):
    written = write_bert(tmp_path / "model")
    (written.folder / "pytorch_model.bin").write_bytes(b"not read")
    Embedder(written.folder)


def test_buffers_of_other_types_do_no_harm(tmp_path):
    written = write_bert(tmp_path / "model")
    expected = Embedder(written.folder).encode(TEXTS)
    kinds = ("F64", "I64", "I32", "I16", "I8", "U8", "BOOL")
    buffers = {f"buffer.{kind}": np.arange(3).reshape(1, 3) for kind in kinds}
    buffers["buffer.empty"] = np.zeros((3, 0))
    dtypes = (
        dict.fromkeys(written.tensors, "F32") | {f"buffer.{kind}": kind for kind in kinds} | {"buffer.empty": "F32"}
    )
    in_place_of_safetensors(written.folder, saved(written.tensors | buffers, dtypes))
    assert (Embedder(written.folder).encode(TEXTS) == expected).all()


def test_a_name_for_a_tensor_that_has_another(tmp_path):
    written = write_bert(tmp_path / "model")
    expected = Embedder(written.folder).encode(TEXTS)
    tied = {"cls.predictions.decoder.weight": "embeddings.word_embeddings.weight"}
    in_place_of_safetensors(written.folder, saved(written.tensors, tied=tied))
    assert (Embedder(written.folder).encode(TEXTS) == expected).all()


def test_all_tensors_in_one_storage_at_their_offsets(tmp_path):
    written = write_bert(tmp_path / "model")
    expected = Embedder(written.folder).encode(TEXTS)
    numbers, tensors, at = sum(values.size for values in written.tensors.values()), {}, 0
    for name, values in written.tensors.items():
        tensors[name] = Tensor("0", values.shape, offset=at, numbers=numbers)
        at += values.size
    storage = b"".join(as_bytes(values, "F32") for values in written.tensors.values())
    in_place_of_safetensors(written.folder, state_file(tensors, {"0": storage}))
    assert (Embedder(written.folder).encode(TEXTS) == expected).all()


def test_tensors_may_overlap(tmp_path):
    """They are only read: two that share numbers have the same ones."""
    written = write_bert(tmp_path / "model", seed=3)
    one = "encoder.layer.0.attention.self.query.bias"
    other = "encoder.layer.0.attention.self.value.bias"
    both = np.arange(40, dtype=np.float32) / 40
    changed = written.tensors | {one: both[:32], other: both[8:]}
    in_place_of_safetensors(written.folder, saved(changed))
    expected = Embedder(written.folder).encode(TEXTS)
    rest = {name: values for name, values in written.tensors.items() if name not in (one, other)}
    tensors = {name: Tensor(str(index), values.shape) for index, (name, values) in enumerate(rest.items())}
    storages = {str(index): as_bytes(values, "F32") for index, values in enumerate(rest.values())}
    tensors |= {one: Tensor("both", (32,), numbers=40), other: Tensor("both", (32,), offset=8, numbers=40)}
    in_place_of_safetensors(written.folder, state_file(tensors, storages | {"both": as_bytes(both, "F32")}))
    assert (Embedder(written.folder).encode(TEXTS) == expected).all()


@pytest.mark.parametrize("root", ["archive", "pytorch_model", "deep/er"])
@pytest.mark.parametrize("byteorder", [b"little", None])
def test_any_root_and_no_byte_order(root, byteorder, tmp_path):
    written = write_bert(tmp_path / "model")
    expected = Embedder(written.folder).encode(TEXTS)
    in_place_of_safetensors(written.folder, saved(written.tensors, root=root, byteorder=byteorder))
    assert (Embedder(written.folder).encode(TEXTS) == expected).all()


def test_shards(tmp_path):
    written = write_bert(tmp_path / "model")
    expected = Embedder(written.folder).encode(TEXTS)
    (written.folder / "model.safetensors").unlink()
    names = sorted(written.tensors)
    parts = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    for file, part in parts.items():
        (written.folder / file).write_bytes(saved({name: written.tensors[name] for name in part}))
    index = {"metadata": {}, "weight_map": {name: file for file, part in parts.items() for name in part}}
    (written.folder / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert (Embedder(written.folder).encode(TEXTS) == expected).all()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_weights_are_mapped_and_not_read(tmp_path):
    written = write_bert(tmp_path / "model")
    path = in_place_of_safetensors(written.folder, saved(written.tensors))
    model = Embedder(written.folder)
    model.encode(TEXTS)
    with open("/proc/self/maps", encoding="utf-8") as maps:
        assert str(path) in maps.read()


def test_half_numbers_are_those_of_the_file(tmp_path):
    written = write_bert(tmp_path / "model")
    rounded = {name: as_stored(values, "bfloat16") for name, values in written.tensors.items()}
    in_place_of_safetensors(written.folder, saved(rounded))
    expected = Embedder(written.folder).encode(TEXTS)
    in_place_of_safetensors(written.folder, saved(written.tensors, "BF16"))
    assert np.abs(Embedder(written.folder).encode(TEXTS) - expected).max() < 1e-6


def test_the_writer_writes_what_python_reads():
    """The kit's pickles are pickles: Python's own reader sees the same values."""
    import io
    import pickle

    class Reader(pickle.Unpickler):
        def find_class(self, module, name):
            return dict if name == "OrderedDict" else (lambda *arguments: (name, arguments[1:4]))

        def persistent_load(self, pid):
            return pid

    tensor = Tensor("7", (2, 3), offset=70_000, numbers=1 << 40)
    data = torch_files.PROTOCOL + torch_files.call(
        torch_files.global_("torch._utils", "_rebuild_tensor_v2"),
        torch_files.text("x"), *map(torch_files.integer, (tensor.offset, -5, 1 << 40)),
    ) + torch_files.STOP  # fmt: skip
    assert Reader(io.BytesIO(data)).load() == ("_rebuild_tensor_v2", (70_000, -5, 1 << 40))
    assert Reader(io.BytesIO(torch_files.PROTOCOL + tensor.pickled() + torch_files.STOP)).load()[1][0] == 70_000
