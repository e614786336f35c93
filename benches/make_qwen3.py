"""Makes a Qwen3 embedding checkpoint of true size with random weights, for the benchmarks.

    python benches/make_qwen3.py FOLDER --tokenizer PATH/TO/tokenizer.json [--config config.json] [--export | --float32]

In: a tokenizer.json, and a config.json where the shape is not to be that of Qwen3-Embedding-0.6B.
Out: FOLDER as that checkpoint is published (bfloat16, 1.2 GB), the same bytes each time; with
`--float32` the same numbers in float32 (2.4 GB); with `--export` also FOLDER/onnx/model.onnx and
its data file, the same weights in float32 (2.4 GB) in a graph with key/value caches. Goes tensor by
tensor: less than 700 MB resident.
"""

import argparse
import json
import math
import shutil
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from kit.checkpoints import write_json
from kit.onnx_export import write_decoder_export
from kit.qwen3_checkpoints import tensor_shapes, write_module_files

PUBLISHED_CONFIG = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 151669, "hidden_size": 1024,
    "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8,
    "head_dim": 128, "hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-06,
    "rope_theta": 1000000, "rope_scaling": None, "attention_bias": False, "tie_word_embeddings": True,
    "use_sliding_window": False, "sliding_window": None, "bos_token_id": 151643, "eos_token_id": 151643,
    "torch_dtype": "bfloat16",
}  # fmt: skip
CHUNK = 16 << 20  # numbers drawn at once


def write_random_tensor(
    file: BinaryIO, shape: tuple[int, ...], norm: bool, random: np.random.Generator, wide: bool
) -> None:
    """Normal numbers that bfloat16 holds, `wide` as float32: deviation 0.02, and for a norm's weight 0.1 around 1."""
    count = math.prod(shape)
    for start in range(0, count, CHUNK):
        values = random.standard_normal(min(CHUNK, count - start), dtype=np.float32)
        values *= np.float32(0.1 if norm else 0.02)
        values += np.float32(norm)
        bits = values.view("<u4") & 0xFFFF0000 if wide else values.view("<u2")[1::2]  # the upper halves
        file.write(bits.tobytes())


def write_checkpoint(path: Path, config: Mapping[str, Any], wide: bool) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    shapes, end = tensor_shapes(config), 0
    for name, shape in shapes.items():
        size = (4 if wide else 2) * math.prod(shape)
        header[name] = {"dtype": "F32" if wide else "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for index, (name, shape) in enumerate(shapes.items()):
            write_random_tensor(file, shape, name.endswith("norm.weight"), np.random.default_rng([0, index]), wide)


class StoredTensor:
    """A bfloat16 tensor that is read when its rows are asked for, as float32."""

    def __init__(self, path: Path, offset: int, shape: tuple[int, ...]) -> None:
        self.path, self.offset, self.shape = path, offset, shape

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(self.shape[0])
        row = math.prod(self.shape[1:])
        bits = np.fromfile(self.path, dtype="<u2", count=(stop - start) * row, offset=self.offset + 2 * start * row)
        return (bits.astype("<u4") << 16).view("<f4").reshape(stop - start, *self.shape[1:])

    @property
    def T(self) -> np.ndarray:
        return self[:].T


class StoredTensors(Mapping[str, StoredTensor]):
    """What `write_checkpoint` wrote, by name."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        del header["__metadata__"]
        self._tensors = {
            name: StoredTensor(path, 8 + length + about["data_offsets"][0], tuple(about["shape"]))
            for name, about in header.items()
        }

    def __getitem__(self, name: str) -> StoredTensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--export", action="store_true")
    parser.add_argument("--float32", action="store_true")
    options = parser.parse_args()
    if options.export and options.float32:
        parser.error("--export is made from the bfloat16 checkpoint")
    folder: Path = options.folder
    config = json.loads(options.config.read_text(encoding="utf-8")) if options.config else PUBLISHED_CONFIG

    start = time.perf_counter()
    write_json(folder / "config.json", config)
    shutil.copyfile(options.tokenizer, folder / "tokenizer.json")
    write_module_files(folder, hidden=config["hidden_size"])
    weights = folder / "model.safetensors"
    write_checkpoint(weights, config, options.float32)
    print(f"{weights}: {weights.stat().st_size / 1e9:.2f} GB in {time.perf_counter() - start:.1f} s")
    if options.export:
        start = time.perf_counter()
        model = folder / "onnx" / "model.onnx"
        checkpoint = SimpleNamespace(config=config, tensors=StoredTensors(weights), normalize=True)
        write_decoder_export(model, checkpoint, external_data=True)
        size = model.with_name("model.onnx_data").stat().st_size
        print(f"{model}: {size / 1e9:.2f} GB of data in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
