"""Writes fuzz/seeds/: files of the tests' tiny checkpoints, one kind for each target. Run where ironvec is installed or
on the path: `.venv/bin/python fuzz/make_seeds.py`."""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from kit import torch_files  # noqa: E402
from kit.checkpoints import write_bert  # noqa: E402
from kit.families import CASES  # noqa: E402
from kit.onnx_export import write_decoder_export, write_encoder_export  # noqa: E402
from kit.qwen3_checkpoints import write_qwen3  # noqa: E402

# The order is that of FOLDER_FILES in src/fuzzing.rs.
FOLDER_FILES = [
    "config.json", "modules.json", "1_Pooling/config.json", "2_Normalize/config.json", "sentence_bert_config.json",
    "config_sentence_transformers.json", "tokenizer_config.json", "model.safetensors.index.json",
    "model.safetensors",
]  # fmt: skip
SMALL_BERT = {"hidden": 4, "heads": 1, "layers": 1, "intermediate": 4, "max_positions": 8}
SMALL_QWEN3 = {"hidden": 4, "heads": 2, "key_value_heads": 1, "head_dim": 2, "layers": 1, "intermediate": 4}


def compact(path: Path) -> bytes:
    return json.dumps(json.loads(path.read_text(encoding="utf-8")), separators=(",", ":")).encode()


def header(path: Path) -> bytes:
    """Of a safetensors file, without what pads it."""
    content = path.read_bytes()
    return content[8 : 8 + int.from_bytes(content[:8], "little")].strip()


def folder_seed(folder: Path) -> bytes:
    paths = [folder / name for name in FOLDER_FILES]
    parts = {path: header(path) if path.suffix == ".safetensors" else compact(path) for path in paths if path.exists()}
    return b"\0".join(parts.get(path, b"") for path in paths)


def header_alone(path: Path, most: int = 1) -> bytes:
    """The first tensors of a file: few are enough to mutate."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    names = sorted((name for name in header if name != "__metadata__"), key=lambda name: header[name]["data_offsets"])
    kept = {name: header[name] for name in names[:most]}
    text = json.dumps(kept, separators=(",", ":")).encode()
    end = max(about["data_offsets"][1] for about in kept.values())
    return len(text).to_bytes(8, "little") + text + content[8 + length : 8 + length + end]


def main() -> None:
    targets = ("safetensors", "torch_weights", "model_folder", "onnx", "tokenizer")
    seeds: dict[str, dict[str, bytes]] = {target: {} for target in targets}
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        berts = {
            "bert": write_bert(place / "bert", prompts={"query": "query: "}, **SMALL_BERT),
            "bert16": write_bert(
                place / "bert16", dtype="float16", pooling=["max", "mean"], pooling_form="mode", position_ids=True,
                max_seq_length=8, **SMALL_BERT,
            ),
        }  # fmt: skip
        qwen3s = {
            "qwen3": write_qwen3(place / "qwen3", **SMALL_QWEN3),
            "qwen3_sharded": write_qwen3(place / "sharded", shards=2, rope_parameters_form=True, **SMALL_QWEN3),
        }
        for name, checkpoint in {**berts, **qwen3s}.items():
            seeds["model_folder"][name] = folder_seed(checkpoint.folder)
            for path in sorted(checkpoint.folder.glob("*.safetensors")):
                seeds["safetensors"][f"{name}-{path.stem}"] = header_alone(path, 3)
        # One of each family: its first.
        for family, name in {case.family: name for name, case in reversed(CASES.items())}.items():
            CASES[name].write(place / family)
            seeds["model_folder"][family] = folder_seed(place / family)
        numbers = np.linspace(-1.0, 1.0, 8, dtype=np.float32).reshape(2, 4)
        for dtype in ("F32", "F16", "BF16", "I64"):
            seeds["torch_weights"][dtype.lower()] = torch_files.saved({"a.weight": numbers, "b": numbers[0]}, dtype)
        seeds["torch_weights"]["parameters"] = torch_files.saved({"a": numbers}, tied={"b": "a"}, parameters=True)
        for name in ("bert", "qwen3"):
            tokenizer = compact({**berts, **qwen3s}[name].folder / "tokenizer.json")
            seeds["tokenizer"][name] = tokenizer
        write_encoder_export(place / "encoder.onnx", berts["bert"])
        write_decoder_export(place / "decoder.onnx", qwen3s["qwen3"])
        for name in ("encoder", "decoder"):
            seeds["onnx"][name] = (place / f"{name}.onnx").read_bytes()
    for target, files in seeds.items():
        folder = HERE / "seeds" / target
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
