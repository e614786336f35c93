"""What the recipes of all families share: a case, its weights and its folder.

A `Case` writes one tiny checkpoint folder as sentence-transformers lays it out. Its numbers come
from a seed, so that the golden vectors in `golden/families/` are of the same bytes everywhere.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kit.checkpoints import (
    MODULE_TYPES_6,
    MODULE_TYPES_UP_TO_5_3,
    as_stored,
    pooling_config,
    write_json,
    write_safetensors,
)
from kit.families.tokenizers import TinyTokenizer

_CONTAINER_DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_DENSE_TYPES = {
    MODULE_TYPES_UP_TO_5_3: "sentence_transformers.models.Dense",
    MODULE_TYPES_6: "sentence_transformers.base.modules.dense.Dense",
}
TANH, IDENTITY = "torch.nn.modules.activation.Tanh", "torch.nn.modules.linear.Identity"


@dataclass(frozen=True)
class Case:
    """One checkpoint: `family` names the golden file, `name` the arrays in it.

    `reference_config` replaces config.json where the reference reads, for spellings that
    transformers does not know; `reference_patch` names what the generator changes in its model.
    """

    family: str
    name: str
    write: Callable[[Path], None]
    reference_config: Mapping[str, Any] | None = None
    reference_patch: str | None = None
    rotates: bool = False

    def __str__(self) -> str:
        return self.name


@dataclass
class Weights:
    """Random float32 tensors under which scores, activations and biases all move the result."""

    name: str  # of the case: cases draw different numbers
    tensors: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(zlib.crc32(self.name.encode()))

    def normal(self, name: str, shape: tuple[int, ...], deviation: float, mean: float = 0.0) -> None:
        self.tensors[name] = (mean + deviation * self.random.standard_normal(shape)).astype(np.float32)

    def linear(self, name: str, outputs: int, inputs: int, *, bias: bool) -> None:
        self.normal(f"{name}.weight", (outputs, inputs), 1.7 / np.sqrt(inputs))
        if bias:
            self.normal(f"{name}.bias", (outputs,), 0.5)

    def table(self, name: str, rows: int, columns: int, deviation: float = 0.02) -> None:
        """Embeddings, so small that the epsilon of the norm after them shows."""
        self.normal(f"{name}.weight", (rows, columns), deviation)

    def norm(self, name: str, size: int, *, bias: bool = False, mean: float = 1.0) -> None:
        self.normal(f"{name}.weight", (size,), 0.3, mean)
        if bias:
            self.normal(f"{name}.bias", (size,), 0.3)

    def packed(self, name: str, parts: Sequence[str]) -> None:
        """One tensor per kind of `parts`, one after the other along the first axis, in their place."""
        for kind in ("weight", "bias"):
            found = [self.tensors.pop(f"{part}.{kind}") for part in parts if f"{part}.{kind}" in self.tensors]
            if found:
                self.tensors[f"{name}.{kind}"] = np.concatenate(found)

    def renamed(self, names: Sequence[tuple[str, str]]) -> None:
        """Replaces each old part of the names by the new one."""
        for old, new in names:
            self.tensors = {name.replace(old, new): values for name, values in self.tensors.items()}

    def prefixed(self, prefix: str) -> dict[str, np.ndarray]:
        return {prefix + name: values for name, values in self.tensors.items()}


@dataclass(frozen=True)
class Dense:
    """A Dense module after pooling."""

    inputs: int
    outputs: int
    bias: bool = True
    activation: str = TANH

    def write(self, folder: Path, seed_name: str) -> None:
        weights = Weights(seed_name)
        weights.linear("linear", self.outputs, self.inputs, bias=self.bias)
        write_json(
            folder / "config.json",
            {
                "in_features": self.inputs,
                "out_features": self.outputs,
                "bias": self.bias,
                "activation_function": self.activation,
            },
        )
        write_weights(folder / "model.safetensors", weights.tensors, "float32")


def write_weights(path: Path, tensors: Mapping[str, np.ndarray], dtype: str) -> None:
    """Floating point tensors in `dtype`, others as 64-bit integers."""
    stored = {}
    for name, values in tensors.items():
        if values.dtype == np.float32:
            stored[name] = (_CONTAINER_DTYPES[dtype], as_stored(values, dtype))
        else:
            stored[name] = ("I64", values)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(path, stored, {"format": "pt"})


def write_modules(folder: Path, named: Sequence[tuple[str, str]]) -> None:
    """modules.json of `(path, type)` pairs."""
    modules = [{"idx": idx, "name": str(idx), "path": path, "type": kind} for idx, (path, kind) in enumerate(named)]
    write_json(folder / "modules.json", modules)


def write_checkpoint(
    folder: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    tokenizer: TinyTokenizer,
    *,
    hidden: int,
    max_tokens: int,
    dtype: str = "float32",
    pooling: str = "mean",
    normalize: bool = True,
    dense: Sequence[Dense] = (),
    module_types: tuple[str, ...] = MODULE_TYPES_UP_TO_5_3,
) -> None:
    """The whole folder. `max_tokens` is what the files say a row may have, special tokens included."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", dict(config))
    write_weights(folder / "model.safetensors", tensors, dtype)
    write_json(folder / "tokenizer.json", tokenizer.json)
    write_json(folder / "tokenizer_config.json", {**tokenizer.config, "model_max_length": max_tokens})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_tokens, "do_lower_case": False})
    write_json(folder / "1_Pooling" / "config.json", pooling_config((pooling,), "booleans", hidden, True))
    modules = [("", module_types[0]), ("1_Pooling", module_types[1])]
    for number, module in enumerate(dense, start=2):
        path = f"{number}_Dense"
        module.write(folder / path, f"{config['model_type']} dense {number}")
        modules.append((path, _DENSE_TYPES[module_types]))
    if normalize:
        modules.append((f"{len(modules)}_Normalize", module_types[2]))
    write_modules(folder, modules)
    about = {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"}
    write_json(folder / "config_sentence_transformers.json", about)
