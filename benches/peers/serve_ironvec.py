"""ironvec, as it comes; `folder`, `dtype`, `memory` and `threads` are options."""

import time
from typing import Any

from protocol import serve


def load(options: dict[str, Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    from ironvec import Embedder

    seconds = time.perf_counter() - start
    chosen = {name: options[name] for name in ("dtype", "memory", "threads") if name in options}
    return seconds, Embedder(options["folder"], **chosen)


def encode(model: Any, texts: Any, role: str | None) -> Any:
    if role == "query":
        return model.encode_query(texts)
    return model.encode_document(texts) if role == "document" else model.encode(texts)


if __name__ == "__main__":
    serve(["ironvec"], load, encode, lambda model: model.dtype)
