"""A validation script from before ironvec, after the change: the import, the session and the tokenizer.

It once ran an exported model.onnx with onnxruntime and the checkpoint's tokenizer; a module beside it held
`embed_texts(texts, task_description, max_length, normalize)`, which pooled and normalized. The lines that were replaced
stand as comments above those that replaced them; the rest is as it was.

    python examples/old_script.py qwen3
    python examples/old_script.py path/to/Qwen3-Embedding-0.6B-ONNX/onnx/model.onnx
"""

import sys

# from onnx_embedding import load_session, load_tokenizer, embed_texts, normalize_embeddings
from ironvec import Embedder, normalize_embeddings

MODEL = sys.argv[1] if len(sys.argv) > 1 else "qwen3"

# session = load_session(MODEL)  # onnxruntime.InferenceSession
# tokenizer = load_tokenizer(MODEL)  # transformers.AutoTokenizer
model = Embedder(MODEL)
embed_texts = model.embed_texts

TASK = "Given a web search query, retrieve relevant passages that answer the query"
QUERIES = ["What is the capital of France?", "How do I cook pasta?"]
DOCUMENTS = ["Paris is the capital of France.", "Boil the pasta in salted water for ten minutes."]


def main() -> None:
    query_embeddings, query_times = embed_texts(QUERIES, task_description=TASK)
    document_embeddings, document_times = embed_texts(DOCUMENTS)

    print("Shapes:", query_embeddings.shape, document_embeddings.shape)
    scores = normalize_embeddings(query_embeddings) @ normalize_embeddings(document_embeddings).T
    for query, row in zip(QUERIES, scores, strict=True):
        print(f"{query:35}", " ".join(f"{score:8.5f}" for score in row))
    for name, times in (("queries", query_times), ("documents", document_times)):
        print(
            f"{name}: {times['batch_size']} rows of {times['seq_len']} tokens at most, "
            f"tokenize {times['tokenize_ms']:.1f} ms, inference {times['inference_ms']:.1f} ms, "
            f"pool {times['pool_ms']:.1f} ms, total {times['total_ms']:.1f} ms"
        )


if __name__ == "__main__":
    main()
