"""Documents longer than a piece of 512 tokens: every pooling sums up over the pieces, and keys and values take no more
memory than the formula of the docstring says."""

import subprocess
import sys

import numpy as np
import pytest

from ironvec import Embedder
from kit import qwen3_reference
from kit.qwen3_checkpoints import write_qwen3

LENGTHS = (511, 512, 513, 1024, 1300)
POOLINGS = (
    "mean",
    "max",
    "weightedmean",
    "cls",
    ("max", "mean", "lasttoken"),
)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
def test_every_pooling_runs_in_pieces(tmp_path, pooling):
    checkpoint = write_qwen3(tmp_path / "qwen3", layers=2, max_positions=4096, pooling=pooling)
    model = Embedder(checkpoint.folder)
    unit = len(checkpoint.tokenize("a" * 1000)) - 1000
    texts = ["a b", *("a" * (length - unit) for length in LENGTHS)]
    assert model.count_tokens(texts)[1:].tolist() == list(LENGTHS)
    expected = qwen3_reference.of_texts(checkpoint, texts)
    np.testing.assert_allclose(model.encode(texts), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose([model.encode(text) for text in texts], expected, rtol=0, atol=1e-5)


PEAK = """
import resource, sys
from ironvec import Embedder
model = Embedder(sys.argv[1], threads=1)
model.encode("a" * 700)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model.encode("a" * int(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB there")
def test_keys_and_values_are_held_once(tmp_path):
    # 4 layers of 2 key/value heads of 64 numbers: 8 KiB a token.
    tokens = 24_000
    checkpoint = write_qwen3(
        tmp_path / "qwen3", layers=4, heads=2, key_value_heads=2, head_dim=64, max_positions=32_768
    )
    run = [sys.executable, "-c", PEAK, str(checkpoint.folder), str(tokens)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=300, check=True)
    held_kib = tokens * 4 * 2 * 2 * 64 * 4 / 1024
    # Beside them: a piece's scores over all tokens and a copy of the last pieces, which do not grow with the layers.
    assert int(done.stdout) < 1.0 * held_kib + 350_000, f"{int(done.stdout):,} KiB beyond {held_kib:,.0f}"
