"""An ONNX file with next to nothing in it, for tests of how ironvec runs such files: what it puts out, and whether that
is what it declares, is the test's to say."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kit.checkpoints import write_bert
from kit.onnx_export import TOKENS
from kit.onnx_protobuf import GraphWriter

WIDTH = 32


class TableExport(GraphWriter):
    """An ONNX file whose hidden states are the rows of a table, on their way to an output.

    `poisoned` is a word, a component of its row in the table, and the number put there. `hidden_size`
    is what config.json says, None for nothing. `finish` makes an output of what became of `states`.
    """

    def __init__(
        self,
        tmp_path: Path,
        *,
        width: int = WIDTH,
        hidden_size: int | None = WIDTH,
        poisoned: tuple[str, int, float] | None = None,
        attention_mask: bool = True,
    ) -> None:
        self.checkpoint = write_bert(tmp_path / "table", normalize=False)
        folder = self.checkpoint.folder
        (folder / "model.safetensors").unlink()
        config = {**self.checkpoint.config, "hidden_size": hidden_size}
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        super().__init__(folder / "model.onnx")
        self.table = np.random.default_rng(3).standard_normal((len(self.checkpoint.vocabulary), width))
        self.table = self.table.astype(np.float32)
        if poisoned is not None:
            word, component, value = poisoned
            self.table[self.checkpoint.vocabulary[word], component] = value
        ids = self.input("input_ids", "int64", TOKENS)
        if attention_mask:
            self.input("attention_mask", "int64", TOKENS)
        shape = self.node("Shape", ids)
        self.rows, self.length = (self.node("Gather", shape, self.ints(axis), axis=0) for axis in (0, 1))
        self.states = self.node("Gather", self.constant("table", self.table, "float32"), ids)

    def ints(self, *values: int) -> str:
        return self.constant("ints", np.asarray(values), "int64")

    def cut(self, states: str, axis: int, end: int | str) -> str:
        """What lies before `end` on one axis."""
        end = self.ints(end) if isinstance(end, int) else end
        return self.node("Slice", states, self.ints(0), end, self.ints(axis))

    def finish(
        self, states: str, shape: Sequence[int | str] = (*TOKENS, WIDTH), name: str = "last_hidden_state"
    ) -> Path:
        """Writes the file, its output declared to be of this shape; the model's folder."""
        self.output(self.node("Identity", states), name, "float32", shape)
        self.save()
        return self.checkpoint.folder

    def means(self, texts: Sequence[str]) -> np.ndarray:
        """What mean pooling makes of the states as they are."""
        return np.stack([self.table[self.checkpoint.tokenize(text)].mean(0) for text in texts])
