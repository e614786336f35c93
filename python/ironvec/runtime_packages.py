"""Which installed packages brought ONNX Runtime: `onnxruntime`, `onnxruntime-gpu` and their kin write into one folder.

In: what importlib knows of installed packages. Out: their names and versions, and advice for when the runtime cannot
be used. Two of them beside each other overwrite each other's files, and removing one takes files of the other away; pip
allows it.
"""

from __future__ import annotations

import os
from importlib.metadata import distributions

# Every one of them installs this file.
_SHARED = "onnxruntime/__init__.py"


def runtime_packages() -> list[str]:
    """ "name==version" of each package that owns the folder `onnxruntime`, sorted. Reads metadata; imports nothing."""
    found = set()
    for distribution in distributions():
        name = distribution.metadata["Name"] or ""
        if name.lower().startswith(("onnxruntime", "ort")) and any(
            file.as_posix() == _SHARED for file in distribution.files or ()
        ):
            found.add((name, distribution.version))
    return [f"{name}=={version}" for name, version in sorted(found)]


def advice(provider: str, problem: str) -> str | None:
    """What to install where the runtime or a provider has a problem; None where packages are not the reason."""
    if os.environ.get("ORT_DYLIB_PATH"):
        return None
    match runtime_packages():
        case [package] if provider == "cuda" and package.startswith("onnxruntime==") and "not available" in problem:
            return (
                f"Installed is {package}, which is for the CPU: `pip uninstall onnxruntime`, then `pip install "
                "onnxruntime-gpu`"
            )
        case [package] if problem.startswith("ONNX Runtime cannot be used"):
            return (
                f"Installed is {package}; if another package of the same folder has taken files of it away, `pip "
                f"install --force-reinstall --no-deps {package}` brings them back"
            )
        case [] | [_]:
            return None
        case several:
            names = " ".join(package.partition("==")[0] for package in several)
            return (
                f"Installed are {' and '.join(several)}, which overwrite each other's files: `pip uninstall {names}`, "
                "then install the one that you need"
            )
