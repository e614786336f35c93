"""Which packages brought ONNX Runtime, and what an error says where two of them share its folder. The packages are
metadata in a folder on the path."""

from importlib.metadata import version
from pathlib import Path

import pytest

from ironvec import Embedder, ProviderError
from ironvec.runtime_packages import advice, runtime_packages
from kit.interpreter import python

OURS = f"onnxruntime=={version('onnxruntime')}"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs the metadata of a package."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("ORT_DYLIB_PATH", raising=False)

    def install(name: str, number: str, file: str = "onnxruntime/__init__.py") -> Path:
        folder = tmp_path / f"{name.replace('-', '_')}-{number}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
        (folder / "RECORD").write_text(f"{file},,\n{folder.name}/METADATA,,\n")
        return folder

    return install


def test_packages_that_own_the_folder(model, installed):
    assert model.device_report()["runtime_packages"] == [OURS]
    installed("onnxruntime-genai", "0.9", file="onnxruntime_genai/__init__.py")
    installed("ortools", "9.15", file="ortools/__init__.py")
    assert runtime_packages() == [OURS]
    installed("onnxruntime-gpu", "1.27.0")
    assert model.device_report()["runtime_packages"] == [OURS, "onnxruntime-gpu==1.27.0"]


def test_a_provider_that_is_not_there_says_what_is_installed(folder, installed):
    with pytest.raises(ProviderError) as error:
        Embedder(folder, provider="cuda")
    assert f"Installed is {OURS}, which is for the CPU: `pip uninstall onnxruntime`" in str(error.value)
    assert 'provider "cuda" is not available; available: ' in str(error.value)
    installed("onnxruntime-gpu", "1.27.0")
    with pytest.raises(ProviderError) as error:
        Embedder(folder, provider="cuda")
    assert f"Installed are {OURS} and onnxruntime-gpu==1.27.0, which overwrite each other's files" in str(error.value)
    assert "`pip uninstall onnxruntime onnxruntime-gpu`, then install the one that you need" in str(error.value)
    # What works is not complained about.
    assert Embedder(folder).encode("cat").shape == (32,)


EMPTIED = """
import sys
from ironvec import Embedder, ProviderError, loaded_model
loaded_model.onnxruntime_dirs = lambda: [sys.argv[2]]
try: Embedder(sys.argv[1])
except ProviderError as error: print(error)
"""


def test_a_runtime_without_its_files_says_how_to_bring_them_back(folder, tmp_path):
    printed = python(EMPTIED, folder, tmp_path, ORT_DYLIB_PATH="")
    assert f"its shared library was not found. Looked in: {tmp_path}." in printed
    assert f"`pip install --force-reinstall --no-deps {OURS}` brings them back" in printed


def test_a_library_that_was_named_is_not_a_packages(monkeypatch):
    monkeypatch.setenv("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so")
    assert advice("cuda", "provider is not available") is None
    assert advice("cpu", "ONNX Runtime cannot be used") is None


def test_packages_are_not_blamed_for_what_no_package_brings(folder, installed):
    with pytest.raises(ProviderError, match=r"^provider \"coreml\" is not available; available: \"auto\", \"cpu\"$"):
        Embedder(folder, provider="coreml")
