"""sentence-transformers on torch, as it comes: batches of 32 over lengths that it sorts itself.

`dtype` is an option: "float32" by default; "auto" is transformers' own default, the checkpoint's.
"""

import time
from typing import Any

from protocol import serve


def load(options: dict[str, Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    from sentence_transformers import SentenceTransformer

    seconds = time.perf_counter() - start
    # Since transformers 5 a bfloat16 checkpoint runs in bfloat16 unless told otherwise, which is several times slower
    # on a CPU without instructions for it.
    dtype = options.get("dtype", "float32")
    return seconds, SentenceTransformer(options["folder"], device="cpu", model_kwargs={"dtype": dtype})


def encode(model: Any, texts: Any, role: str | None) -> Any:
    if role == "query":
        return model.encode_query(texts)
    return model.encode_document(texts) if role == "document" else model.encode(texts)


def precision(model: Any) -> str:
    return str(next(model.parameters()).dtype).removeprefix("torch.")


if __name__ == "__main__":
    serve(["sentence-transformers", "torch"], load, encode, precision)
