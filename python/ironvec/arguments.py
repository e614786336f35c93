"""Checks of what callers pass to `Embedder`, before the native module sees it.

In: anything. Out: a list of texts, an int, a flag; or a `TypeError` / `ValueError` that names the argument. The type of
each text is checked on the native side, which knows its index.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

# What `texts` may be: one text, or any ordered iterable of them.
TextsLike = str | Iterable[str]

# The default of the first argument, which sentence-transformers' callers may also pass as `inputs=` or `sentences=`.
BY_KEYWORD: Any = None

_EXPECTED_TEXTS = "expected a str or a sequence of str"


class Texts(NamedTuple):
    """What to encode, and whether the caller passed one text rather than many."""

    rows: list[str]
    single: bool


def as_texts(texts: object) -> Texts:
    """Takes a str, a list, tuple, 1-D array, Series, Arrow array, or any other ordered iterable."""
    if isinstance(texts, str):
        return Texts([texts], True)
    if isinstance(texts, list):
        return Texts(texts, False)
    iterable = refuse_other_than_texts(texts)
    # Arrays and Series: tolist gives Python strings, where iterating would give NumPy or Arrow scalars.
    # Arrow's chunked arrays have to_pylist alone.
    for method in ("tolist", "to_pylist"):
        if (to_list := getattr(iterable, method, None)) is not None:
            rows = to_list()
            if not isinstance(rows, list):
                raise TypeError(f"texts.{method}() gave {type(rows).__name__}, not a list; {_EXPECTED_TEXTS}")
            return Texts(rows, False)
    return Texts(list(iterable), False)


def refuse_other_than_texts(texts: object) -> Iterable[Any]:
    """Raises `TypeError` for what can be iterated over and yet is no sequence of texts."""
    if texts is None:
        raise TypeError(f"texts is None; {_EXPECTED_TEXTS}")
    if isinstance(texts, (bytes, bytearray, memoryview)):
        raise TypeError(f"texts is {type(texts).__name__}, not text; decode it first, e.g. texts.decode('utf-8')")
    if isinstance(texts, Mapping):
        raise TypeError(f"texts is a mapping ({type(texts).__name__}); {_EXPECTED_TEXTS}: pass its values or its keys")
    if isinstance(texts, (set, frozenset)):
        raise TypeError(f"texts is a {type(texts).__name__}, which has no order for the rows; {_EXPECTED_TEXTS}")
    # Looked up without asking for it: the columns of a lazy table are computed, or warned of.
    if hasattr(type(texts), "columns") or "columns" in getattr(texts, "__dict__", ()):
        # Iterating over a DataFrame gives its column names: embeddings of the wrong texts, without an error.
        column = "one column of it, collected" if hasattr(type(texts), "collect") else "one column of it"
        raise TypeError(f"texts is a table ({type(texts).__name__}); pass {column}")
    if isinstance(texts, np.ndarray) and texts.ndim != 1:
        raise TypeError(f"texts is an array of shape {texts.shape}; expected one dimension")
    if not isinstance(texts, Iterable):
        raise TypeError(f"texts is {type(texts).__name__}; {_EXPECTED_TEXTS}")
    return texts


def positive_int(name: str, value: object) -> int:
    """`value` as an int of at least 1; NumPy integers too, bools not. Beyond any size is refused."""
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} is {type(value).__name__}; expected a positive int")
    number = operator.index(value)
    if number < 1:
        raise ValueError(f"{name} is {number}; expected a positive int")
    if number > sys.maxsize:
        raise ValueError(f"{name} is {number}; expected at most {sys.maxsize}")
    return number


def batch_size_or_none(value: object) -> int | None:
    """Rows of a run at most; any positive int will do, since a batch holds no more rows than there are."""
    if isinstance(value, int) and value > sys.maxsize:
        return sys.maxsize
    return positive_int_or_none("batch_size", value)


def positive_int_or_none(name: str, value: object) -> int | None:
    return None if value is None else positive_int(name, value)


def named(name: str, value: object) -> str:
    """`value` as one of an argument's names. Here, since PyO3 names the argument only from Python 3.11 on."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is {type(value).__name__}; expected a str")
    return value


def flag_or_none(name: str, value: object) -> bool | None:
    if value is None or isinstance(value, (bool, np.bool_)):
        return None if value is None else bool(value)
    raise TypeError(f"{name} is {type(value).__name__}; expected a bool or None")


def text_argument(function: str, texts: object, keywords: dict[str, Any]) -> object:
    """The first argument, which sentence-transformers calls `inputs`, and `sentences` before version 5.4."""
    given = [] if texts is None else ["texts"]
    given += [name for name in ("inputs", "sentences") if name in keywords]
    if len(given) > 1:
        raise TypeError(f"{function}() got its texts more than once: {', '.join(given)}")
    return texts if given in ([], ["texts"]) else keywords.pop(given[0])


def result_kind(function: str, keywords: dict[str, Any]) -> str:
    """What sentence-transformers' keywords ask for, by name: "array", one "tensor", or a list of "tensors"."""
    arrays = flag_or_none("convert_to_numpy", keywords.pop("convert_to_numpy", True)) is not False
    tensor = flag_or_none("convert_to_tensor", keywords.pop("convert_to_tensor", False))
    if arrays and not tensor:
        return "array"
    if find_spec("torch") is None:
        asked = "convert_to_tensor=True" if tensor else "convert_to_numpy=False"
        raise ImportError(f"{function}({asked}) makes tensors of torch, which is not installed: `pip install torch`")
    return "tensor" if tensor else "tensors"


def check_other_keywords(function: str, keywords: dict[str, Any], provider: str) -> None:
    """Accepts sentence-transformers' other keywords where they ask for what ironvec does."""
    for name, value in keywords.items():
        if name == "output_value":
            # Nothing but a str: an array would be compared item by item.
            fits, does = (
                isinstance(value, str) and value == "sentence_embedding",
                'it returns "sentence_embedding" only',
            )
        elif name == "device":
            # "cuda:0" and torch.device("cuda", 0) are the device that provider "cuda" uses.
            fits = value is None or (not isinstance(value, list) and str(value) in (provider, f"{provider}:0"))
            does = f"this Embedder runs on {provider!r}; choose with Embedder(..., provider=...)"
        elif name in ("pool", "chunk_size"):
            # What start_multi_process_pool() gives has no processes.
            fits = value is None or (name == "pool" and isinstance(value, Mapping) and value.get("processes") == [])
            does = "one call already uses every core; there are no process pools"
        else:
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")
        if not fits:
            raise ValueError(f"{function}({name}={value!r}) asks for what ironvec does not do: {does}")
