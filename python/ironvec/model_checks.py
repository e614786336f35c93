"""Whether a loaded model does what its files and its face promise: one check a promise, each a figure and a verdict.

In: an `Embedder`, texts. Out: checks. None raises for what the model does wrong: that is what they are there to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ._core import ModelError, ProviderError, model_facts, registry
from .sample_texts import SENTENCES

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from .embedder import Embedder

# How far two computations of one vector may lie apart, in parts of its length; float32 on an accelerator is less exact.
_TOLERANCES = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 1e-2, "int8": 2e-3}
_ACCELERATOR_TOLERANCE = 1e-4
_CUT_AT = 32


class Check(NamedTuple):
    """One promise, and what was found."""

    name: str
    passed: bool
    figure: str
    numbers: dict[str, float]


def check_model(model: Embedder, texts: Sequence[str]) -> Iterator[Check]:
    """Every check, in an order in which the first failure says most."""
    tolerance = _tolerance(model)
    try:
        vectors = model.encode(list(texts))
    except (ModelError, ProviderError, ValueError) as error:
        yield Check("encode", False, str(error), {})
        return
    checks: tuple[tuple[str, Callable[[], Check]], ...] = (
        ("dimension", lambda: _dimension(model, vectors)),
        ("finite", lambda: _finite(vectors)),
        ("L2 norm", lambda: _norm(model, vectors)),
        ("alone = batched", lambda: _alone(model, texts, vectors, tolerance)),
        ("deterministic", lambda: _deterministic(model, texts, vectors)),
        ("truncation", lambda: _truncation(model, tolerance)),
        ("prompts", lambda: _prompts(model, tolerance)),
        ("similarity", lambda: _similarity(model)),
    )
    for name, check in checks:
        try:
            yield check()
        except (ModelError, ProviderError, ValueError) as error:
            yield Check(name, False, str(error), {})


def distances(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """The largest difference of a component, row by row, in parts of the longer row's length. NaN is infinite."""
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    lengths = np.maximum(np.linalg.norm(first, axis=-1), np.linalg.norm(second, axis=-1))
    apart: NDArray[np.float64] = np.abs(first - second).max(axis=-1, initial=0.0) / np.maximum(lengths, 1e-30)
    return np.nan_to_num(apart, nan=np.inf, posinf=np.inf)


def _tolerance(model: Embedder) -> float:
    if model.dtype == "float32" and model.provider != "cpu":
        return _ACCELERATOR_TOLERANCE
    return _TOLERANCES[model.dtype]


def _dimension(model: Embedder, vectors: NDArray[np.float32]) -> Check:
    known = next((entry["dimension"] for entry in registry().values() if entry["hub_id"] == model.model_id), None)
    expected = model.dimension if known is None else known
    found = vectors.shape[1]
    says = "as the model says" if known is None else "as the registry says"
    told = says if found == expected else f"expected {expected:,}, {says}"
    return Check("dimension", found == expected, f"{found:,}, {told}", {"dimension": found})


def _finite(vectors: NDArray[np.float32]) -> Check:
    wrong = int(np.count_nonzero(~np.isfinite(vectors).all(axis=1)))
    found = f"NaN or infinity in {wrong} of {len(vectors)} vectors" if wrong else f"no NaN in {len(vectors)} vectors"
    return Check("finite", not wrong, found, {"vectors": wrong})


def _norm(model: Embedder, vectors: NDArray[np.float32]) -> Check:
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    least, most = float(norms.min()), float(norms.max())
    numbers = {"least": least, "most": most}
    if not model.normalize:
        found = f"{least:.4g} to {most:.4g}; this model does not scale its vectors"
        # A static table gives zeros for a text without a known token.
        return Check("L2 norm", bool(np.isfinite(norms).all()), found, numbers)
    off = float(np.abs(norms - 1.0).max())
    return Check("L2 norm", off <= 1e-5, f"{norms.mean():.6f}, at most {off:.1e} from 1", numbers)


def _alone(model: Embedder, texts: Sequence[str], batched: NDArray[np.float32], tolerance: float) -> Check:
    alone = np.stack([model.encode(text) for text in texts])
    turned = model.encode(list(texts)[::-1])[::-1]
    apart = float(np.maximum(distances(batched, alone), distances(batched, turned)).max())
    return _within("alone = batched", apart, tolerance, f"{len(texts)} texts, shuffled too")


def _within(name: str, apart: float, tolerance: float, what: str) -> Check:
    figure = f"{what}: {apart:.1e} apart, {tolerance:.0e} allowed"
    return Check(name, apart <= tolerance, figure, {"difference": apart, "tolerance": tolerance})


def _deterministic(model: Embedder, texts: Sequence[str], first: NDArray[np.float32]) -> Check:
    second = model.encode(list(texts))
    same = first.tobytes() == second.tobytes()
    apart = float(distances(first, second).max())
    return Check("deterministic", same, "bit for bit, twice" if same else f"{apart:.1e} apart", {"difference": apart})


def _truncation(model: Embedder, tolerance: float) -> Check:
    words = "the river carries sand and clay from the mountains to the sea, "
    long, least = words * 12, min(_CUT_AT, model.max_length)
    tokens = int(model.count_tokens(long))
    cut, whole = model.encode(long, max_length=least), model.encode(long)
    # What lies beyond the cut, at the end or for a few models at the start, must not matter.
    longer = (model.encode(text, max_length=least) for text in (f"{long} {words}", f"{words} {long}"))
    apart = min(float(distances(cut, other)) for other in longer)
    counted = len(model.tokenize(long)) <= model.max_length
    differs = tokens <= least or float(distances(cut, whole)) > tolerance
    if not counted or not differs:
        found = "a text is not cut where max_length says"
        return Check("truncation", False, found, {"tokens": tokens, "max_length": least})
    return _within("truncation", apart, tolerance, f"{tokens} tokens cut at {least}")


def _prompts(model: Embedder, tolerance: float) -> Check:
    text, names = SENTENCES[0], [name for name, prompt in model.prompts.items() if prompt]
    if not names:
        apart = float(distances(model.encode(text), model.encode_query(text)))
        return Check("prompts", apart <= tolerance, "none: encode_query is encode", {"difference": apart})
    arguments = model._native_arguments
    pooled = model_facts(arguments["folder"], arguments["file_name"])["include_prompt"]
    most = 0.0
    for name in names:
        prompted = model.encode(text, prompt_name=name)
        if pooled:
            joined = model.encode(model.prompts[name] + text, prompt="")
            most = max(most, float(distances(prompted, joined)))
        if float(distances(prompted, model.encode(text, prompt=""))) <= tolerance:
            return Check("prompts", False, f"{name}: changes nothing", {"difference": 0.0})
    if not pooled:
        return Check("prompts", True, f"{', '.join(names)}: before the text, and not pooled", {})
    return _within("prompts", most, tolerance, f"{', '.join(names)} before the text")


def _similarity(model: Embedder) -> Check:
    scores = model.similarity(*(2 * [model.encode(list(SENTENCES))]))
    similar, different = float(scores[0, 1]), float(scores[0, 2])
    figure = f"similar {similar:.4f}, different {different:.4f}, separation {similar - different:.4f}"
    numbers = {"similar": similar, "different": different, "separation": similar - different}
    # Written so that NaN fails too.
    return Check("similarity", similar > different, figure, numbers)
