"""The ways in which repositories lay out a model: tiny ones of each, with files beside them that nobody needs."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kit.checkpoints import (
    MODULE_TYPES_6,
    MODULE_TYPES_UP_TO_5_3,
    Checkpoint,
    write_bert,
    write_json,
    write_safetensors,
)
from kit.families import CASES
from kit.families.layout import write_modules
from kit.hub_server import write_ballast
from kit.torch_files import in_place_of_safetensors, saved

HIDDEN, WIDTH = 32, 8
TRANSFORMER, POOLING, NORMALIZE = MODULE_TYPES_UP_TO_5_3
DENSE, LAYER_NORM = "sentence_transformers.models.Dense", "sentence_transformers.models.LayerNorm"
_BALLAST = (
    "README.md",
    "model.fp16.safetensors",
    "openvino/model.xml",
    "3_Other/config.json",
    "3_Other/model.safetensors",
)
# Beside a transformer.
BERT = {"config.json", "tokenizer.json", "tokenizer_config.json", "sentence_bert_config.json"}
ROOT = {"modules.json", "config_sentence_transformers.json"}
POOLED = {*BERT, *ROOT, "1_Pooling/config.json"}


@dataclass(frozen=True)
class Layout:
    folder: Path
    needed: set[str]


def add_dense(folder: Path, path: str, *, torch: bool = False) -> None:
    weight = np.random.default_rng(5).standard_normal((WIDTH, HIDDEN)).astype(np.float32)
    config = {"in_features": HIDDEN, "out_features": WIDTH, "bias": False}
    write_json(folder / path / "config.json", config)
    if torch:
        (folder / path / "pytorch_model.bin").write_bytes(saved({"linear.weight": weight}))
    else:
        write_safetensors(folder / path / "model.safetensors", {"linear.weight": ("F32", weight)})


def add_layer_norm(folder: Path, path: str) -> None:
    scale = np.random.default_rng(6).standard_normal(WIDTH).astype(np.float32)
    write_json(folder / path / "config.json", {"dimension": WIDTH})
    tensors = {"norm.weight": ("F32", scale), "norm.bias": ("F32", scale[::-1].copy())}
    write_safetensors(folder / path / "model.safetensors", tensors)


def _torch_shards(model: Checkpoint) -> None:
    (model.folder / "model.safetensors").unlink()
    names = sorted(model.tensors)
    files = {f"pytorch_model-0000{part + 1}-of-00002.bin": names[part::2] for part in (0, 1)}
    for file, part in files.items():
        (model.folder / file).write_bytes(saved({name: model.tensors[name] for name in part}))
    index = {"metadata": {}, "weight_map": {name: file for file, part in files.items() for name in part}}
    (model.folder / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")


def write_layouts(root: Path) -> dict[str, Layout]:
    """Hub id to folder, and the files of it that a start must ask for."""
    made: dict[str, Layout] = {}

    def add(name: str, needed: set[str]) -> None:
        write_ballast(root / name, _BALLAST)
        made[f"org/{name}"] = Layout(root / name, needed)

    model = write_bert(root / "bin")
    in_place_of_safetensors(model.folder, saved(model.tensors))
    add("bin", {*POOLED, "pytorch_model.bin"})

    _torch_shards(write_bert(root / "bin-shards"))
    shards = {f"pytorch_model-0000{part}-of-00002.bin" for part in (1, 2)}
    add("bin-shards", {*POOLED, "pytorch_model.bin.index.json", *shards})

    folder = write_bert(root / "both").folder
    add_dense(folder, "2_Dense")
    write_modules(folder, [("", TRANSFORMER), ("1_Pooling", POOLING), ("2_Dense", DENSE)])
    write_ballast(folder, ("pytorch_model.bin", "2_Dense/pytorch_model.bin"))
    add("both", {*POOLED, "model.safetensors", "2_Dense/config.json", "2_Dense/model.safetensors"})

    folder = write_bert(root / "head").folder
    add_dense(folder, "2_Dense", torch=True)
    add_layer_norm(folder, "3_LayerNorm")
    head = [("2_Dense", DENSE), ("3_LayerNorm", LAYER_NORM), ("4_Normalize", NORMALIZE)]
    write_modules(folder, [("", TRANSFORMER), ("1_Pooling", POOLING), *head])
    norm = {"3_LayerNorm/config.json", "3_LayerNorm/model.safetensors"}
    add("head", {*POOLED, "model.safetensors", "2_Dense/config.json", "2_Dense/pytorch_model.bin", *norm})

    # Folders as somebody may name them, one within another, and the slashes and dots of a path.
    folder = write_bert(root / "named", pooling="cls").folder
    shutil.move(folder / "1_Pooling", folder / "Pooling")
    add_dense(folder, "head/to eight")
    write_modules(folder, [("./", TRANSFORMER), ("Pooling/", POOLING), ("./head//to eight", DENSE)])
    dense = {"head/to eight/config.json", "head/to eight/model.safetensors"}
    add("named", {*BERT, *ROOT, "Pooling/config.json", "model.safetensors", *dense})

    folder = write_bert(root / "old", pooling="cls").folder
    (folder / "0_Transformer").mkdir()
    for name in (*BERT, "model.safetensors"):
        (folder / name).rename(folder / "0_Transformer" / name)
    write_modules(folder, [("0_Transformer", TRANSFORMER), ("1_Pooling", POOLING), ("2_Normalize", NORMALIZE)])
    inner = {f"0_Transformer/{name}" for name in (*BERT, "model.safetensors")}
    add("old", {*ROOT, *inner, "1_Pooling/config.json"})

    CASES["static-raw"].write(root / "static")
    add("static", {*ROOT, "0_StaticEmbedding/model.safetensors", "0_StaticEmbedding/tokenizer.json"})
    CASES["model2vec"].write(root / "model2vec")
    add("model2vec", {*ROOT, "config.json", "model.safetensors", "tokenizer.json"})
    CASES["model2vec-bare"].write(root / "bare")
    add("bare", {"config.json", "model.safetensors", "tokenizer.json"})

    folder = write_bert(root / "outside", module_types=MODULE_TYPES_6).folder
    shutil.move(folder / "1_Pooling", root / "1_Pooling")
    write_modules(folder, [("", TRANSFORMER), ("../1_Pooling", POOLING)])
    made["org/outside"] = Layout(folder, {"modules.json"})
    return made
