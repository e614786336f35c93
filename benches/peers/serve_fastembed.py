"""fastembed over a local export, by its route for models of one's own; `batch_size` is an option, else its default."""

import time
from typing import Any

from protocol import serve


def load(options: dict[str, Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    from fastembed import TextEmbedding

    seconds = time.perf_counter() - start
    from fastembed.common.model_description import ModelSource, PoolingType

    TextEmbedding.add_custom_model(
        model="local/minilm",
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf="local/minilm"),
        dim=384,
        model_file="model.onnx",
    )
    model = TextEmbedding("local/minilm", specific_model_path=options["onnx"])
    return seconds, (model, {"batch_size": options["batch_size"]} if "batch_size" in options else {})


def encode(model: Any, texts: Any, role: str | None) -> Any:
    embedding, arguments = model
    return list(embedding.embed(texts, **arguments))


if __name__ == "__main__":
    serve(["fastembed"], load, encode)
