"""sentence-transformers on torch, as it comes: batches of 32 over lengths that it sorts itself."""

import time
from typing import Any

from protocol import serve


def load(options: dict[str, Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    from sentence_transformers import SentenceTransformer

    seconds = time.perf_counter() - start
    # Without this a bfloat16 checkpoint runs in bfloat16, which is several times slower on a CPU.
    return seconds, SentenceTransformer(options["folder"], device="cpu", model_kwargs={"dtype": "float32"})


def encode(model: Any, texts: Any, role: str | None) -> Any:
    if role == "query":
        return model.encode_query(texts)
    return model.encode_document(texts) if role == "document" else model.encode(texts)


if __name__ == "__main__":
    serve(["sentence-transformers", "torch"], load, encode)
