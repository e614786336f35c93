"""Vectors that a model is held against: an .npz file of `texts` and `embeddings`, of whatever made them.

In: a path, or a model and texts. Out: two arrays, checks against them, a file written whole. Refused: arrays that do
not fit each other, and pickled ones, which could run code.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from zipfile import BadZipFile

import numpy as np

from .model_checks import Check, distances
from .validation_script import normalize_embeddings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .embedder import Embedder

# The least cosine and the largest difference that pass, where the caller names none. int8's: those of odd single words.
LIMITS = {"float32": (0.9999, 1e-3), "float16": (0.999, 1e-2), "bfloat16": (0.999, 1e-2), "int8": (0.95, 0.1)}


class Reference(NamedTuple):
    texts: list[str]
    embeddings: NDArray[np.float32]


def read_reference(path: str) -> Reference:
    """Reads a file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no .npz file, or its arrays are not what is needed.
    """
    expected = "expected an .npz file of `texts` (str, one axis) and `embeddings` (float, a row a text)"
    try:
        # Opened here: NumPy leaves a file open that is no archive.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            texts, embeddings = np.asarray(arrays["texts"]), np.asarray(arrays["embeddings"])
    except KeyError as error:
        raise ValueError(f"{path}: {error.args[0]}; {expected}") from error
    except (ValueError, EOFError, TypeError, AttributeError, BadZipFile, zlib.error, NotImplementedError) as error:
        raise ValueError(f"{path}: {error}; {expected}") from error
    if texts.ndim != 1 or texts.dtype.kind != "U" or embeddings.ndim != 2 or embeddings.dtype.kind != "f":
        found = f"texts {texts.dtype} {texts.shape}, embeddings {embeddings.dtype} {embeddings.shape}"
        raise ValueError(f"{path}: {found}; {expected}")
    if len(texts) != len(embeddings) or not len(texts):
        raise ValueError(f"{path}: {len(texts)} texts and {len(embeddings)} embeddings; {expected}")
    return Reference(texts.tolist(), embeddings.astype(np.float32))


def write_reference(path: str, texts: Sequence[str], embeddings: NDArray[np.float32]) -> None:
    """Writes a file, whole or not at all."""
    # NumPy cuts zeros off the end of a str of its own.
    if ending := next((text for text in texts if text.endswith("\0")), None):
        raise ValueError(f"text {ending!r} ends in a zero byte, which a NumPy array of str does not keep")
    temporary = f"{path}.{os.urandom(8).hex()}"
    try:
        with open(temporary, "xb") as file:
            np.savez(file, texts=np.asarray(texts, dtype=np.str_), embeddings=embeddings)
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def check_reference(
    model: Embedder, reference: Reference, *, prompt_name: str | None, least_cosine: float | None,
    most_apart: float | None, progress: bool,
) -> list[Check]:  # fmt: skip
    """Cosine and largest difference to the reference, a check each."""
    limits = LIMITS[model.dtype]
    cosine_limit = limits[0] if least_cosine is None else least_cosine
    difference_limit = limits[1] if most_apart is None else most_apart
    # Where no prompt is named, none: the file's texts are what its maker's model saw.
    prompt = None if prompt_name is not None else ""
    vectors = model.encode(reference.texts, prompt_name=prompt_name, prompt=prompt, show_progress_bar=progress)
    if vectors.shape != reference.embeddings.shape:
        found = f"{vectors.shape[1]:,} components here, {reference.embeddings.shape[1]:,} in the reference"
        return [Check("reference", False, found, {})]
    cosines = np.einsum("ij,ij->i", normalize_embeddings(vectors), normalize_embeddings(reference.embeddings))
    # Two zeros are the same vector, whose cosine is none.
    cosines = np.where(vectors.any(axis=1) | reference.embeddings.any(axis=1), cosines, 1.0)
    worst = int(np.argmin(np.nan_to_num(cosines, nan=-np.inf)))
    least, mean = float(cosines[worst]), float(cosines.mean())
    apart = float(distances(vectors, reference.embeddings).max())
    figure = f"{least:.6f} at least (text {worst}), {mean:.6f} on average; {cosine_limit:g} passes"
    numbers = {"least": least, "mean": mean, "limit": cosine_limit}
    return [
        Check("reference cosine", least >= cosine_limit, figure, numbers),
        Check(
            "reference error", apart <= difference_limit, f"{apart:.1e} at most; {difference_limit:.0e} passes",
            {"difference": apart, "limit": difference_limit},
        ),
    ]  # fmt: skip
