"""The vectors that `golden/generate_families.py` made of the families' checkpoints, and how close to them is equal."""

import json
from pathlib import Path

import numpy as np

from kit.families import CASES

GOLDEN = Path(__file__).parents[2] / "golden" / "families"
FACTS = json.loads((GOLDEN / "families.json").read_text(encoding="utf-8"))

# Beginnings of the names of cases that cannot be loaded yet, or not rightly; a case that can must leave this list.
NOT_YET = ("new-logn",)


def golden(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{CASES[name].family}.npz") as arrays:
        return {part: arrays[f"{name}.{part}"] for part in ("vectors", "ids", "counts")}


def assert_equal(vectors: np.ndarray, expected: np.ndarray) -> None:
    """Within 1e-5 on every component, and relative to the vector where it is not normalized."""
    tolerance = 1e-5 * np.maximum(1.0, np.linalg.norm(expected, axis=1, keepdims=True))
    assert vectors.shape == expected.shape
    worst = np.abs(vectors - expected) / tolerance
    assert worst.max() <= 1.0, f"text {worst.max(axis=1).argmax()} is off by {worst.max() * 1e-5:.1e}"
