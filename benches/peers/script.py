"""The floor to beat: ONNX Runtime and tokenizers by hand, forty lines that a good programmer writes in an afternoon.

Lengths are sorted, a run takes as many rows as fit into 1,024 padded tokens, pooling and normalisation are NumPy's.

    model = Script("folder with model.onnx and tokenizer.json", max_tokens=256)
    vectors = model.encode(["a text", "another"])
"""

import os

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

TOKENS_A_RUN = 1024


class Script:
    def __init__(self, folder: str, max_tokens: int) -> None:
        self.session = onnxruntime.InferenceSession(
            os.path.join(folder, "model.onnx"), providers=["CPUExecutionProvider"]
        )
        self.tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        self.tokenizer.enable_truncation(max_tokens)
        self.tokenizer.no_padding()

    def encode(self, texts: list[str]) -> np.ndarray:
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        order = sorted(range(len(rows)), key=lambda row: -len(rows[row]))
        vectors = np.empty((len(rows), self.session.get_outputs()[0].shape[-1]), dtype=np.float32)
        while order:
            length = len(rows[order[0]])
            count = max(1, TOKENS_A_RUN // length)
            batch, order = order[:count], order[count:]
            vectors[batch] = self._run([rows[row] for row in batch], length)
        return vectors

    def _run(self, rows: list[list[int]], length: int) -> np.ndarray:
        ids = np.zeros((len(rows), length), dtype=np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (hidden_states,) = self.session.run(None, inputs)
        weights = mask[..., None].astype(np.float32)
        pooled = (hidden_states * weights).sum(axis=1) / weights.sum(axis=1)
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
