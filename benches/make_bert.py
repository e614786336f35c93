"""Makes a BERT checkpoint of bge-small-en-v1.5's shape with random weights, for the benchmarks.

    python benches/make_bert.py FOLDER [--dtype bfloat16]

In: MiniLM, whose tokenizer it gets (bge-small's has the same vocabulary). Out: FOLDER, 134 MB in float32, the same
bytes each time.
"""

import argparse
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from ironvec.resolve import resolve
from kit.checkpoints import write_bert

VOCABULARY = 30522


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16", "bfloat16"))
    options = parser.parse_args()
    folder: Path = options.folder
    write_bert(
        folder,
        hidden=384,
        heads=12,
        layers=12,
        intermediate=1536,
        max_positions=512,
        pooling="cls",
        dtype=options.dtype,
        config_overrides={"vocab_size": VOCABULARY},
    )
    shutil.copyfile(Path(resolve("minilm", local_files_only=True).folder) / "tokenizer.json", folder / "tokenizer.json")


if __name__ == "__main__":
    main()
