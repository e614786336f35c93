"""What tokenization would cost if it did not run beside inference: its time alone against that of a whole call.

    python benches/tokenization.py [model] [--rounds 5]

1,024 mixed docstrings, both on all threads, in turns; for float32 and for int8. Medians of the pairwise ratios.
"""

import argparse
import statistics

import docstrings
from turns import seconds

from ironvec import Embedder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="minilm")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for dtype in ("float32", "int8"):
        model = Embedder(options.model, dtype=dtype)
        texts = docstrings.choose(Embedder(options.model, max_length=512).count_tokens).mixed
        shares = []
        for _ in range(options.rounds):
            alone = seconds(lambda model=model, texts=texts: model.count_tokens(texts))
            whole = seconds(lambda model=model, texts=texts: model.encode(texts))
            shares.append(alone / whole)
        print(f"{dtype}: tokenization takes {statistics.median(shares):.1%} of a call (at most 5 %)")


if __name__ == "__main__":
    main()
