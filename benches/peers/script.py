"""What is around a runtime that is called by hand: a good programmer writes these forty lines in an afternoon.

Lengths are sorted, a run takes as many rows as fit into 1,024 padded tokens, pooling and normalisation are NumPy's.
`serve_script.py` brings ONNX Runtime, and is the floor to beat; `serve_openvino.py` brings OpenVINO.

    model = Script("folder with tokenizer.json", max_tokens=256, run=inputs_to_hidden_states)
    vectors = model.encode(["a text", "another"])
"""

import os
from collections.abc import Callable

import numpy as np
from tokenizers import Tokenizer

TOKENS_A_RUN = 1024


class Script:
    def __init__(self, folder: str, max_tokens: int, run: Callable[[dict[str, np.ndarray]], np.ndarray]) -> None:
        self.hidden_states = run
        self.tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        self.tokenizer.enable_truncation(max_tokens)
        self.tokenizer.no_padding()

    def encode(self, texts: list[str]) -> np.ndarray:
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        order = sorted(range(len(rows)), key=lambda row: -len(rows[row]))
        pieces, first = [], 0
        while first < len(order):
            length = len(rows[order[first]])
            batch = order[first : first + max(1, TOKENS_A_RUN // length)]
            pieces.append(self._run([rows[row] for row in batch], length))
            first += len(batch)
        sorted_vectors = np.concatenate(pieces)
        vectors = np.empty_like(sorted_vectors)
        vectors[order] = sorted_vectors
        return vectors

    def _run(self, rows: list[list[int]], length: int) -> np.ndarray:
        ids = np.zeros((len(rows), length), dtype=np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        weights = mask[..., None].astype(np.float32)
        pooled = (self.hidden_states(inputs) * weights).sum(axis=1) / weights.sum(axis=1)
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
