"""One virtual environment per peer, with pinned releases, under .bench/ beside the repository's own.

In: a peer's name, and perhaps an interpreter to use instead. Out: the interpreter. An environment is made anew when its
list of packages changes.
"""

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BENCH = ROOT / ".bench"

# Peers that share an environment differ in options alone. The script runs on the release of the runtime that ironvec
# runs on here, so that the two differ in what is around it.
PACKAGES = {
    "sentence-transformers": ("sentence-transformers==6.2.0", "torch==2.15.0"),
    "fastembed": ("fastembed==0.9.1",),
    "openvino": ("openvino==2026.4.1", "tokenizers==0.23.3", f"numpy=={version('numpy')}"),
    "script": (f"onnxruntime=={version('onnxruntime')}", "tokenizers==0.23.3", f"numpy=={version('numpy')}"),
}


def environment(name: str) -> Path:
    """The environment's interpreter, installed where it is not yet."""
    folder, packages = BENCH / name, PACKAGES[name]
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / "packages.txt"
    if stamp.is_file() and stamp.read_text(encoding="utf-8").split() == list(packages):
        return python
    print(f"installing {', '.join(packages)} into {folder}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    subprocess.run(install, check=True)
    stamp.write_text("\n".join(packages) + "\n", encoding="utf-8")
    return python
