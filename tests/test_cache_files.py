"""The folder for what can be made again, and files that many write at once."""

import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from ironvec import cache_files
from ironvec.cache_files import cache_folder, write_whole

THREADS, WRITES = 4, 300


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """Nothing is configured, and the home is a folder of the test's."""
    for variable in ("IRONVEC_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    cache_files._absolute.cache_clear()
    yield
    cache_files._absolute.cache_clear()


def test_the_variable_beats_the_platform(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("IRONVEC_CACHE", str(tmp_path / "own"))
    assert cache_folder() == str(tmp_path / "own")


def test_a_relative_variable_means_the_folder_of_its_first_use(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("IRONVEC_CACHE", "own")
    monkeypatch.chdir(tmp_path)
    assert cache_folder() == str(tmp_path / "own")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert cache_folder() == str(tmp_path / "own")


@pytest.mark.parametrize(
    ("platform", "below"), [("linux", ".cache"), ("freebsd14", ".cache"), ("darwin", "Library/Caches")]
)
def test_each_platform_has_its_own(tmp_path, monkeypatch, platform, below):
    monkeypatch.setattr(cache_files.sys, "platform", platform)
    assert Path(cache_folder()) == tmp_path / "home" / below / "ironvec"
    # An empty value is none, as everywhere.
    monkeypatch.setenv("IRONVEC_CACHE", "")
    assert Path(cache_folder()) == tmp_path / "home" / below / "ironvec"


def test_windows_has_local_application_data_or_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_files.sys, "platform", "win32")
    assert cache_folder() is None
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert Path(cache_folder()) == tmp_path / "local" / "ironvec"


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="XDG's variable has no say there")
@pytest.mark.parametrize("value", ["caches", "./caches", ""])
def test_a_relative_xdg_value_is_ignored(tmp_path, monkeypatch, value):
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert cache_folder() == str(tmp_path / "home" / ".cache" / "ironvec")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == str(tmp_path / "xdg" / "ironvec")


def test_without_a_home_there_is_no_folder(monkeypatch):
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert cache_folder() is None


def test_many_threads_write_one_file(tmp_path):
    path = str(tmp_path / "file.json")
    texts = [str(thread) * 5000 for thread in range(THREADS)]
    seen, errors = set(), []

    def work(text: str) -> None:
        try:
            for _ in range(WRITES):
                write_whole(path, text)
                seen.add(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert seen <= set(texts)
    assert os.listdir(tmp_path) == ["file.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="no umask")
def test_a_written_file_has_the_permissions_of_any_other(tmp_path):
    (tmp_path / "plain").write_text("text")
    write_whole(str(tmp_path / "whole"), "text")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "whole")]
    assert modes[0] == modes[1]


def test_a_write_that_fails_leaves_nothing_behind(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_whole(str(tmp_path / "folder"), "text")
    with pytest.raises(UnicodeEncodeError):
        write_whole(str(tmp_path / "file"), "\ud800")
    assert os.listdir(tmp_path) == ["folder"]
