"""ONNX Runtime and tokenizers by hand: the script of script.py."""

import os
import time
from typing import Any

from protocol import serve


def load(options: dict[str, Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    import onnxruntime
    from script import Script

    seconds = time.perf_counter() - start
    session = onnxruntime.InferenceSession(
        os.path.join(options["onnx"], "model.onnx"), providers=["CPUExecutionProvider"]
    )
    return seconds, Script(options["onnx"], options["max_tokens"], lambda inputs: session.run(None, inputs)[0])


def encode(model: Any, texts: Any, role: str | None) -> Any:
    return model.encode([texts] if isinstance(texts, str) else texts)


if __name__ == "__main__":
    serve(["onnxruntime", "tokenizers", "numpy"], load, encode)
