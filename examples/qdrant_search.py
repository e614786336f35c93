"""A search with Qdrant, which takes vectors and so needs no adapter: documents in, the nearest ones out.

    pip install qdrant-client
    python examples/qdrant_search.py minilm

`QdrantClient(":memory:")` runs in the process; a server's address in its place changes nothing else.
"""

import sys

from qdrant_client import QdrantClient
from qdrant_client.models import Distance, PointStruct, VectorParams

from ironvec import Embedder

DOCUMENTS = ["Paris is the capital of France.", "Boil the pasta in salted water.", "The cat sat on the mat."]


def main(name: str, query: str) -> list[tuple[str, float]]:
    model = Embedder(name)
    client = QdrantClient(":memory:")
    client.create_collection("texts", VectorParams(size=model.dimension, distance=Distance.COSINE))
    vectors = model.encode_document(DOCUMENTS)
    client.upsert(
        "texts",
        [
            PointStruct(id=index, vector=vector, payload={"text": text})
            for index, (text, vector) in enumerate(zip(DOCUMENTS, vectors.tolist(), strict=True))
        ],
    )
    found = client.query_points("texts", model.encode_query(query).tolist(), limit=2).points
    return [(point.payload["text"], point.score) for point in found]


if __name__ == "__main__":
    for text, score in main(sys.argv[1] if len(sys.argv) > 1 else "minilm", "What is the capital of France?"):
        print(f"{score:.4f}  {text}")
