"""The public `Embedder`: texts in, vectors out.

In: texts in any of the shapes users hold them. Out: NumPy arrays in input order. What the arrays hold is computed in
Rust (src/embedder.rs). Names and semantics follow sentence-transformers 6.2, so that a NumPy user changes one line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from . import arrow_encoding
from .arguments import BY_KEYWORD, TextsLike, positive_int, refuse_other_than_texts
from .async_encoding import AsyncEncoding
from .embed_texts import embed_texts
from .encoded_chunks import encoded_chunks
from .prompts import task_prompt
from .sentence_transformers_names import SentenceTransformersNames
from .text_bar import text_bar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Embedder(AsyncEncoding, SentenceTransformersNames):
    """A text embedding model, loaded and ready.

    Any number of threads may call one Embedder; the GIL is released while it computes, and Ctrl-C stops it within a
    batch. It pickles by its arguments (without `token`), and rebuilds itself after a fork.

    Args:
        model: An alias ("minilm"), the folder of a checkpoint, an ONNX file, or a hub id ("org/name"). Looked for, in
            this order: as a path; in `$IRONVEC_MODELS`; in `models/` under the working directory; in an installed
            package that carries it; in the Hugging Face cache; on the hub, which needs huggingface_hub.
        provider: What runs the graph: "auto" (the CPU), "cpu", "cuda", "coreml". An accelerator runs only where it is
            named: neither has been run yet, on Apple hardware or on a GPU. One that is named is what runs: its vectors
            of a short and a long test text are compared with the CPU's, cosine (at least 0.9999, in float16 0.999) and
            length (within 0.1 %, in float16 1 %), at load, and with CoreML for each bucket of lengths when it is first
            needed. `device_report()` tells buckets, limits and cache folder.
        dtype: What matrix products are computed in: "float32"; "bfloat16", on processors with AMX-BF16 or AVX512-BF16:
            weights where they lie in bfloat16 checkpoints and rounded at load from others, activations rounded, sums,
            attention and norms in float32, the last bits as the processor has them; "int8", made at load from a
            checkpoint, on the CPU: weights and activations in 8-bit steps, of a size per block of 64 inputs, so that no
            row depends on its batch, and products with the same bits on every processor; "float16" with CoreML.
        max_length: Tokens per text, special tokens included, at which texts are cut. None: the checkpoint's. Of a text
            beyond 512 tokens, a causal model holds its keys and values: 7.5 GB at 32,768 tokens of Qwen3's 0.6B.
        truncate_dim: Components kept of each vector. None: all.
        threads: CPU threads of one run. None: as many as affinity and the cgroup's quota allow.
        prompts: Name to text; overrides and extends the checkpoint's.
        default_prompt_name: The prompt that `encode` uses where it is told none. None: the checkpoint's.
        file_name: An ONNX file of the folder or repository to run instead of the checkpoint: "onnx/model_fp16.onnx".
        revision: Branch, tag or commit of a model in the Hugging Face cache or on the hub. None: "main".
        cache_dir: The Hugging Face cache to use. None: the one its environment variables name.
        local_files_only: Open no connection; `HF_HUB_OFFLINE=1` does the same.
        token: For private and gated models. None: the one that `hf auth login` has kept.
        on_truncate: What to do where a text is cut: "ignore", "warn" (once per call) or "error" (`ValueError`).
        memory_map: Maps the weight files: replacing one by renaming does no harm, a change in place is a `ModelError`
            at the next call, a cut within a run or on NFS ends the process (SIGBUS). False: a copy, safe from all that.
        memory: "low": a checkpoint's weights stay mapped, 16 bits where they have 16, and kernels of ironvec's own read
            them there: the process holds none, processes share them, loading takes a fraction, vectors are as exact.
            For "float32" on the CPU. "fast": the same where that is no slower (16-bit checkpoints on AMD processors
            with AVX2), else float32 weights, packed for ONNX Runtime's kernels.
        prompt_cache: Keeps a shared prompt's keys and values; at most 64 MiB. Off: every row computes its own prompt.

    Raises:
        FileNotFoundError: Nothing by that name; the message lists every place looked at.
        PermissionError: The hub has the model for those with access to it only.
        ConnectionError: The hub cannot be reached, or a transfer broke off.
        ModelError: The model's files are broken or unsupported, or have changed since they were loaded.
        ProviderError: The provider, or ONNX Runtime itself, cannot be used.
        ValueError, TypeError, MemoryError: An argument is not what is described here; no memory for weights or rows.
    """

    __slots__ = ()

    def encode(
        self,
        texts: TextsLike = BY_KEYWORD,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        *,
        precision: str = "float32",
        normalize_embeddings: bool | None = None,
        truncate_dim: int | None = None,
        max_length: int | None = None,
        out: NDArray[np.float32] | None = None,
        **other_keywords: Any,
    ) -> NDArray[Any]:
        """Computes one vector per text.

        The result for a text does not depend on what it is batched with: within 1e-5 of encoding it alone (float32).
        What may go by position goes in sentence-transformers' order.

        Args:
            texts: A str, or a list, tuple, 1-D array, Series or any other ordered iterable of str. An empty string is
                a text like any other.
            prompt_name: The name, in `prompts`, of the text to prepend. Default: `default_prompt_name`, if any.
            prompt: The text to prepend; beats `prompt_name`.
            batch_size: Most rows per run. None: batches are planned by a budget of padded tokens.
            show_progress_bar: True shows a bar on stderr, counted in texts. None and False show none.
            precision: "float32", "int8", "uint8", "binary" or "ubinary", as sentence-transformers defines them: the
                8-bit ones scale by the range of this call's vectors, the binary ones pack 8 components to a byte.
            normalize_embeddings: True scales vectors to L2 norm 1, False does not. None: as the checkpoint says.
            truncate_dim: Components kept of each vector, for this call.
            max_length: Tokens per text at which texts are cut, for this call.
            out: A C-contiguous, writeable float32 array (or np.memmap) to fill, of the shape that is returned.
            **other_keywords: sentence-transformers' others, where they ask for what this does: `inputs` or `sentences`
                for `texts`, `convert_to_numpy=True`, `convert_to_tensor=False`, `output_value="sentence_embedding"`,
                `device` equal to the provider, `pool=None`, `chunk_size=None`.

        Returns:
            Shape (dimension,) for a str, else (texts, dimension), C-contiguous, in input order; float32, or int8 /
            uint8 by `precision`. `out` itself where it is given.

        Raises:
            TypeError: A text is not a str (its index and type are named), or an unknown keyword.
            ValueError: An unknown `prompt_name`, a text with lone surrogates, a wrong `out`, a keyword that asks for
                what ironvec does not do; a cut text under `on_truncate="error"`.
        """
        call = self._prepare(
            "encode", texts, other_keywords, out, prompt_name=prompt_name, prompt=prompt, batch_size=batch_size,
            precision=precision, normalize_embeddings=normalize_embeddings, truncate_dim=truncate_dim,
            max_length=max_length,
        )  # fmt: skip
        with text_bar(show_progress_bar, len(call.rows)) as progress:
            return call.result(call.encode(call.rows, progress=progress))

    def encode_query(
        self,
        texts: TextsLike = BY_KEYWORD,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        *,
        task: str | None = None,
        precision: str = "float32",
        normalize_embeddings: bool | None = None,
        truncate_dim: int | None = None,
        max_length: int | None = None,
        out: NDArray[np.float32] | None = None,
        **other_keywords: Any,
    ) -> NDArray[Any]:
        """`encode` with the model's prompt for queries: "query", or none where the model has none.

        `task` says in a sentence what the search is for, and makes the prompt ``f"Instruct: {task}\\nQuery:"``, as
        Qwen3-Embedding and its kin want it; `ValueError` beside a prompt. `prompt` and `prompt_name` override the
        model's; `default_prompt_name` has no say. All else is as in `encode`.
        """
        if task is not None:
            prompt = task_prompt(task, prompt, prompt_name)
        elif prompt is None and prompt_name is None:
            prompt = self._prompts.of_role("query")
        return self.encode(
            texts, prompt_name=prompt_name, prompt=prompt, batch_size=batch_size, show_progress_bar=show_progress_bar,
            precision=precision, normalize_embeddings=normalize_embeddings, truncate_dim=truncate_dim,
            max_length=max_length, out=out, **other_keywords,
        )  # fmt: skip

    def encode_document(
        self,
        texts: TextsLike = BY_KEYWORD,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        *,
        precision: str = "float32",
        normalize_embeddings: bool | None = None,
        truncate_dim: int | None = None,
        max_length: int | None = None,
        out: NDArray[np.float32] | None = None,
        **other_keywords: Any,
    ) -> NDArray[Any]:
        """`encode` with the model's prompt for documents: the first of "document", "passage" and "corpus" it has.

        `prompt` and `prompt_name` override it; `default_prompt_name` has no say. All else is as in `encode`.
        """
        if prompt is None and prompt_name is None:
            prompt = self._prompts.of_role("document")
        return self.encode(
            texts, prompt_name=prompt_name, prompt=prompt, batch_size=batch_size, show_progress_bar=show_progress_bar,
            precision=precision, normalize_embeddings=normalize_embeddings, truncate_dim=truncate_dim,
            max_length=max_length, out=out, **other_keywords,
        )  # fmt: skip

    encode_arrow = arrow_encoding.encode_arrow

    def embed_texts(
        self,
        texts: TextsLike,
        task_description: str | None = None,
        max_length: int = 512,
        normalize: bool = True,
    ) -> tuple[NDArray[np.float32], dict[str, float]]:
        """The first validation script's function, for code that was built on it; new code calls `encode`.

        Args:
            texts: As in `encode`.
            task_description: Puts ``f"Instruct: {task_description}\\nQuery: "`` in front of each text; None: nothing.
            max_length: Tokens per text at which texts are cut, and never more than the model's own.
            normalize: Whether vectors are scaled to L2 norm 1.

        Returns:
            What `encode` returns, and `tokenize_ms`, `inference_ms`, `pool_ms`, `total_ms`, `batch_size`, `seq_len`:
            see `embed_texts.py` for what is measured. `pool_ms` is 0.0: pooling is a part of `inference_ms`.
        """
        return embed_texts(self, texts, task_description, max_length, normalize)

    def encode_iter(
        self,
        texts: Iterable[str],
        *,
        chunk: int = 1024,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        precision: str = "float32",
        normalize_embeddings: bool | None = None,
        truncate_dim: int | None = None,
        max_length: int | None = None,
    ) -> Iterator[NDArray[Any]]:
        """Encodes any iterable, endless ones too, holding one chunk of it in memory.

        Args:
            texts: An iterable of str, read as the arrays are asked for.
            chunk: Texts per array. Larger chunks batch better; memory grows with them.
            precision: "float32", "binary" or "ubinary". The 8-bit ones scale by a range over all vectors, which a
                stream does not have.
            prompt_name, prompt, batch_size, normalize_embeddings, truncate_dim, max_length: As in `encode`.

        Yields:
            Arrays of shape (at most `chunk`, dimension), in input order; none for an empty iterable.

        Raises:
            TypeError, ValueError: At the call, for its arguments; while iterating, for a text.
        """
        if isinstance(texts, str):
            raise TypeError("texts is one str; encode_iter takes an iterable of them, encode takes one")
        source = iter(refuse_other_than_texts(texts))
        rows_per_chunk = positive_int("chunk", chunk)
        if precision in ("int8", "uint8"):
            raise ValueError(f'precision={precision!r} needs all vectors at once: use encode, or "binary" / "ubinary"')
        encode = self._encoder(
            prompt_name, prompt, batch_size, precision, normalize_embeddings, truncate_dim, max_length
        )
        return encoded_chunks(source, rows_per_chunk, encode)
