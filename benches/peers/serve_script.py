"""The hand-written script of script.py."""

import time
from typing import Any

from protocol import serve


def load(options: dict[str, Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    from script import Script

    seconds = time.perf_counter() - start
    return seconds, Script(options["onnx"], options["max_tokens"])


def encode(model: Any, texts: Any, role: str | None) -> Any:
    return model.encode([texts] if isinstance(texts, str) else texts)


if __name__ == "__main__":
    serve(["onnxruntime", "tokenizers", "numpy"], load, encode)
