"""The `ironvec` command: what a stranger sees first, and what they see when it fails."""

import os
import re
import subprocess
import sys

import pytest

from ironvec import __version__

pytestmark = pytest.mark.slow


def ironvec(*arguments: str, encoding: str = "utf-8") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "ironvec", *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment, timeout=120)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_demo_shows_what_it_loaded_and_what_came_out(encoding):
    done = ironvec("demo", encoding=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert "sentence-transformers/all-MiniLM-L6-v2" in done.stdout
    assert re.search(r"loaded in \d+ ms", done.stdout)
    assert done.stdout.count("L2 norm 1.000000") == 3
    assert "384 numbers each" in done.stdout
    similar, different, separation = (
        float(re.search(rf"{label} .* (-?\d\.\d+)\n", done.stdout)[1]) for label in ("A-B", "A-C", "separation")
    )
    # The scores of sentence-transformers 6.2 on this model.
    assert similar == pytest.approx(0.8561, abs=1e-4)
    assert different == pytest.approx(0.1005, abs=1e-4)
    assert separation == pytest.approx(similar - different, abs=2e-4)
    assert "\x1b" not in done.stdout
    assert done.stdout.isascii() == (encoding == "ascii")


def test_a_missing_model_is_an_error_and_not_a_traceback():
    done = ironvec("demo", "--model", "no-such-mod\u00e9l", encoding="ascii")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("ironvec: error: no model 'no-such-mod\\xe9l'. Looked at, in this order:\n")
    assert "Traceback" not in done.stderr


def test_a_command_is_needed():
    done = ironvec()
    assert done.returncode == 2
    assert "required: command" in done.stderr


def test_version():
    assert ironvec("--version").stdout == f"ironvec {__version__}\n"
