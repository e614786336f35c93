"""The ONNX file that fastembed and the hand-written script run: MiniLM's own weights, exported.

In: a checkpoint's folder, float32. Out: `.bench/minilm-onnx/` with model.onnx (weights inside) and the files of the
tokenizer, laid out as on the hub. The writer is the tests' own. Is it as good a file as the published ones? ONNX
Runtime 1.32 at its highest level of optimisation makes the same nodes of it as of a TorchScript export from
transformers 4.30, opset 11 (the age of the published files): 42 MatMul, 13 LayerNormalization, 6 BiasGelu,
6 FusedMatMul, 6 Softmax, 50 Add, and fewer than of one from transformers 5.23. It fuses Attention and
SkipLayerNormalization in none of the three.
"""

import json
import shutil
import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from kit.onnx_export import write_encoder_export

_TOKENIZER_FILES = ("config.json", "tokenizer.json", "special_tokens_map.json")


def read_float32(path: Path) -> dict[str, np.ndarray]:
    """A safetensors file's float32 tensors, mapped."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header: dict[str, Any] = json.loads(file.read(length))
    data = np.memmap(path, mode="r", offset=8 + length)
    tensors = {}
    for name, about in header.items():
        if name != "__metadata__" and about["dtype"] == "F32":
            start, end = about["data_offsets"]
            tensors[name] = data[start:end].view("<f4").reshape(about["shape"])
    return tensors


def onnx_folder(checkpoint: Path, folder: Path, max_tokens: int) -> Path:
    """Writes the folder where it is not yet; `max_tokens` is where its tokenizer cuts."""
    if (folder / "tokenizer_config.json").is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in _TOKENIZER_FILES:
        shutil.copyfile(checkpoint / name, folder / name)
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    tensors = read_float32(checkpoint / "model.safetensors")
    write_encoder_export(folder / "model.onnx", SimpleNamespace(config=config, tensors=tensors, normalize=True))
    # Last, since its being there says that the folder is complete.
    tokenizer = json.loads((checkpoint / "tokenizer_config.json").read_text(encoding="utf-8"))
    text = json.dumps({**tokenizer, "model_max_length": max_tokens}, indent=2)
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
    return folder
