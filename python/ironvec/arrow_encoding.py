"""The method `Embedder.encode_arrow`: Arrow strings in, Arrow vectors out, without a Python object for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .text_bar import text_bar

if TYPE_CHECKING:
    from .embedder import Embedder


def encode_arrow(
    self: Embedder,
    texts: object,
    prompt_name: str | None = None,
    prompt: str | None = None,
    batch_size: int | None = None,
    show_progress_bar: bool | None = None,
    *,
    role: str | None = None,
    nulls: str = "keep",
    normalize_embeddings: bool | None = None,
    truncate_dim: int | None = None,
    max_length: int | None = None,
) -> Any:
    """`encode` for Arrow arrays: the same vectors, with no Python object made of a text or a row.

    Strings (`utf8`, `large_utf8`) are read where they lie, with the GIL released; as Arrow has it, nobody may
    change them meanwhile. Views, dictionaries and nulls become one `large_utf8` copy first. Needs pyarrow
    (`pip install 'ironvec[arrow]'`).

    Args:
        texts: A pyarrow Array or ChunkedArray of strings; a polars or pandas Series; whatever has
            `__arrow_c_stream__`, `__arrow_c_array__` or `__arrow_array__`.
        role: "query" or "document": the model's prompt for it, as `encode_query` and `encode_document` choose it.
            `prompt` and `prompt_name` override it.
        nulls: "keep": null texts get null rows, whose places in the value buffer hold zeros. "error": `ValueError`.
        prompt_name, prompt, batch_size, show_progress_bar, normalize_embeddings, truncate_dim, max_length: As in
            `encode`.

    Returns:
        A `pyarrow.FixedSizeListArray` of float32, a list of `dimension` values for each text, in input order. Its
        value buffer is the memory that the vectors were computed into.

    Raises:
        ImportError: No pyarrow.
        TypeError: `texts` is no Arrow array, or not one of strings; the type is named.
        ValueError: A null with `nulls="error"`, bytes that are not UTF-8, offsets that do not fit: the first index
            is named. And what `encode` raises.
    """
    from .arrow_texts import arrow_columns, vector_lists

    if nulls not in ("keep", "error"):
        raise ValueError(f'nulls={nulls!r}; expected "keep" or "error"')
    if role is not None:
        role_prompt = self._prompts.of_role(role)
        prompt = role_prompt if prompt is None and prompt_name is None else prompt
    encode = self._encoder(prompt_name, prompt, batch_size, "float32", normalize_embeddings, truncate_dim, max_length)
    columns = arrow_columns(texts)
    is_null = columns.nulls()
    if is_null.any() and nulls == "error":
        raise ValueError(f'texts[{is_null.argmax()}] is null; nulls="keep" gives null rows for such')
    with text_bar(show_progress_bar, int((~is_null).sum())) as progress:
        return vector_lists(encode(columns, progress=progress), is_null)
