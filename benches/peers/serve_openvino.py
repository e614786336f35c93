"""OpenVINO by hand, as script.py calls it, over the same ONNX file.

`precision` is an option: "f32" keeps it in float32; without one OpenVINO chooses by the processor, bfloat16 where it
has the instructions (AMX, AVX512-BF16), else float32. What it chose is asked of the compiled model.
"""

import os
import time
from typing import Any, NamedTuple

from protocol import serve


class Loaded(NamedTuple):
    script: Any
    compiled: Any


def load(options: dict[str, Any]) -> tuple[float, Loaded]:
    start = time.perf_counter()
    import openvino
    from script import Script

    seconds = time.perf_counter() - start
    hints = {"INFERENCE_PRECISION_HINT": options["precision"]} if "precision" in options else {}
    compiled = openvino.Core().compile_model(os.path.join(options["onnx"], "model.onnx"), "CPU", hints)
    request = compiled.create_infer_request()

    def run(inputs: dict[str, Any]) -> Any:
        # Nothing is copied: the hidden states are pooled before the next run overwrites them.
        return request.infer(inputs, share_inputs=True, share_outputs=True)[0]

    return seconds, Loaded(Script(options["onnx"], options["max_tokens"], run), compiled)


def encode(model: Loaded, texts: Any, role: str | None) -> Any:
    return model.script.encode([texts] if isinstance(texts, str) else texts)


def precision(model: Loaded) -> str:
    name: str = model.compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}[name]


if __name__ == "__main__":
    serve(["openvino", "tokenizers", "numpy"], load, encode, precision)
