"""The command where the shell has closed a stream, or a disk is full, or the file is none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kit.checkpoints import write_bert
from kit.onnx_export import write_encoder_export

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell's redirections")]


def shell(arguments: str, redirections: str) -> subprocess.CompletedProcess[str]:
    command = f'"{sys.executable}" -m ironvec {arguments} {redirections}'
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> Path:
    checkpoint = write_bert(tmp_path_factory.mktemp("streams"))
    write_encoder_export(checkpoint.folder / "model.onnx", checkpoint)
    return checkpoint.folder / "model.onnx"


@pytest.mark.parametrize("command", ["demo", "inspect --json {graph}", "inspect {graph}"])
def test_a_closed_stdout_is_an_error(graph, command):
    done = shell(command.format(graph=graph), ">&-")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "ironvec: error: stdout is closed, and there is nowhere to write to\n"


def test_with_stderr_closed_an_error_is_not_output(graph):
    failed = shell("demo --model ./none", "2>&-")
    assert (failed.returncode, failed.stdout, failed.stderr) == (2, "", "")
    done = shell(f"inspect --json {graph}", "2>&-")
    assert done.returncode == 0
    assert done.stdout.startswith("{")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_an_error_and_not_a_traceback(graph):
    done = shell(f"inspect --json {graph}", ">/dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith("ironvec: error: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_device_is_not_an_empty_file():
    done = shell("inspect /dev/zero", "")
    assert (done.returncode, done.stderr) == (1, "ironvec: error: /dev/zero: is not a regular file\n")
