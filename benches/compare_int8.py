"""Our int8 against our float32: throughput on the mixed texts, and how close the vectors are.

In: how ironvec is started. Out: figures whose "ironvec" is int8 and whose peer is float32, and the cosines as limits.
Where the engine refuses int8, what it says.
"""

import docstrings
import numpy as np
import targets
from measure import Figure, figure, vectors
from report import Limit
from workers import Peer, PeerError, Worker, take_turns

FLOAT32 = "ironvec float32"


def int8_and_float32(ours: Peer) -> tuple[Peer, Peer]:
    """Two peers for `take_turns`; int8 takes the name that counts as ours."""
    return (
        ours._replace(options={**ours.options, "dtype": "int8"}),
        ours._replace(name=FLOAT32, options={**ours.options, "dtype": "float32"}),
    )


def compare_int8(ours: Peer, rounds: int) -> tuple[list[Figure], list[Limit]]:
    quantized, plain = int8_and_float32(ours)
    try:
        with Worker(quantized) as small, Worker(plain) as wide:
            for worker in (small, wide):
                worker.encode("warm")
            samples = take_turns([small, wide], rounds, lambda worker: worker.encode("mixed"))
            rows, expected = (vectors(worker).astype(np.float64) for worker in (small, wide))
    except PeerError as error:
        print(f"int8: not there ({error})")
        return [], []
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(expected, axis=1)
    cosines = (rows * expected).sum(axis=1) / lengths
    figures = [figure("int8 mixed", FLOAT32, samples[FLOAT32], "texts/s", docstrings.COUNT)]
    found = zip(("mean", "lowest"), (cosines.mean(), cosines.min()), targets.INT8_COSINES, strict=True)
    limits = [
        Limit(f"int8, {name} cosine to float32", "", float(value), limit, at_most=False) for name, value, limit in found
    ]
    return figures, limits
