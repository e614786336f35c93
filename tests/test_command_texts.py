"""What every command prints as a new user sees it: 80 columns, no colours, in a pipe, with LANG=C; help that teaches;
exit codes; and a start that imports no command but the one that was asked for."""

import json
import os
import re
import subprocess
import sys

import pytest

from ironvec.commands import COMMANDS, load
from ironvec.plain_text import fields, quoted, size, table, wrapped
from kit.checkpoints import write_bert
from kit.onnx_export import write_encoder_export

pytestmark = pytest.mark.slow

RUNS = {
    "demo": "--model {folder}",
    "inspect": "{folder}",
    "inspect an ONNX file": "{folder}/model.onnx",
    "validate": "minilm",
    "bench": "{folder} --runs 2 --batches 1,2 --target-p95-ms 100000",
    "models": "",
    "models --long": "qwen3 minilm",
    "download": "minilm",
    "cache list": "",
}


def ironvec(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHONIO"))}
    command = [sys.executable, "-m", "ironvec", *arguments]
    return subprocess.run(
        command, env={**kept, "LANG": "C", "COLUMNS": "80", **environment}, capture_output=True, timeout=120
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    checkpoint = write_bert(tmp_path_factory.mktemp("texts") / "bert", prompts={"query": "query: \u00e4\n"})
    write_encoder_export(checkpoint.folder / "model.onnx", checkpoint, external_data=True)
    return checkpoint.folder


@pytest.mark.parametrize("environment", [{}, {"PYTHONIOENCODING": "ascii"}], ids=["LANG=C", "ascii"])
@pytest.mark.parametrize("name", RUNS)
def test_in_a_pipe_of_80_columns(name, environment, folder, tmp_path):
    words = name.replace("an ONNX file", "").split() + RUNS[name].format(folder=folder).split()
    done = ironvec(*words, **environment, IRONVEC_CACHE=str(tmp_path))
    # The tiny model's weights are random: it need not know which sentences are alike.
    assert done.returncode in ((0, 1) if name == "demo" else (0,)), done.stderr
    out = done.stdout.decode("ascii" if environment else "utf-8")
    assert "\x1b" not in out
    assert "\\x" not in out.replace("\\xe4", ""), "a character of ironvec's own has no plain form"
    # Paths are as long as they are.
    lines = [line for line in out.splitlines() if str(folder)[:12] not in line and "site-packages" not in line]
    assert out
    assert [line for line in lines if len(line) > 80] == []
    assert [line for line in out.splitlines() if line != line.rstrip()] == []
    assert not done.stderr or name == "demo"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_teaches(name):
    done = ironvec(name, "--help")
    out = done.stdout.decode()
    assert (done.returncode, done.stderr) == (0, b"")
    assert max(map(len, out.splitlines())) <= 80
    assert "\nexamples:\n  ironvec " in out
    assert "--json" in out
    assert load(name).HELP in " ".join(ironvec("--help").stdout.decode().split())


def test_each_command_is_one_line_of_the_help():
    lines = ironvec("--help").stdout.decode().splitlines()
    described = [line.split()[0] for line in lines if re.match(r"    \w", line)]
    assert described == list(COMMANDS)


def test_the_examples_name_options_that_exist():
    for name in COMMANDS:
        out = ironvec(name, "--help").stdout.decode()
        options, _, examples = out.partition("\nexamples:\n")
        for action in ("list", "clear") if name == "cache" else ():
            options += ironvec(name, action, "--help").stdout.decode()
        for option in re.findall(r"(?<![\w-])--[a-z0-9-]+", examples):
            assert re.search(rf"{option}\b", options), f"{name}: {option}"


@pytest.mark.parametrize("name", list(COMMANDS))
def test_json_is_all_that_is_printed(name, folder, tmp_path):
    (tmp_path / "texts.txt").write_text("a text\nanother\n", encoding="utf-8")
    arguments = {
        "cache": ["list"],
        "demo": [],
        "inspect": [str(folder)],
        "validate": ["minilm"],
        "bench": [str(folder), "--runs=1", "--batches=1"],
        "embed": [str(tmp_path / "texts.txt"), "-o", str(tmp_path / "v.npy"), "--model", str(folder)],
    }
    done = ironvec(name, *arguments.get(name, ["minilm"]), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


@pytest.mark.parametrize("arguments", ["inspect {none}", "validate {none}", "bench {none}", "download {none}"])
def test_a_missing_model_is_exit_code_2(arguments, tmp_path):
    done = ironvec(*arguments.format(none=tmp_path / "none").split())
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"ironvec: error: no model at ")


def test_a_model_that_does_not_run_is_exit_code_1(tmp_path):
    folder = write_bert(tmp_path / "bert").folder
    (folder / "model.safetensors").write_bytes(b"broken")
    for command in ("validate", "bench"):
        done = ironvec(command, str(folder))
        assert done.returncode == 1
        assert b"model.safetensors: not a valid safetensors file" in done.stderr + done.stdout


def test_only_the_command_that_is_asked_for_is_imported():
    program = (
        "import sys; from ironvec.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "names = ('ironvec.commands.', 'tqdm', 'onnxruntime', 'huggingface_hub')\n"
        "print(sorted(name for name in sys.modules if name.startswith(names)))"
    )
    done = subprocess.run([sys.executable, "-c", program, "models", "--help"], capture_output=True, text=True)
    imported = done.stdout.splitlines()[-1]
    assert imported == "['ironvec.commands.models', 'ironvec.commands.opening']"


def test_tables():
    rows = [("a", "1", "x"), ("long", "22", "word " * 20)]
    lines = list(table(rows, right=(1,)))
    assert lines[0] == "  a      1  x"
    assert lines[1].startswith("  long  22  word word")
    assert lines[2].startswith("            word")
    assert max(map(len, lines)) <= 80
    assert list(fields([("label", ["one", "two"])])) == ["  label  one", "         two"]
    assert list(wrapped("", "  ")) == [""]
    assert list(table([])) == []
    assert [size(count) for count in (1, 2048, 20_000, 5_000_000, 2_400_000_000)] == [
        "1 byte", "2,048 bytes", "20.0 kB", "5.0 MB", "2.4 GB",
    ]  # fmt: skip
    assert quoted('a\n"b"\x1b') == '"a\\n"b"\\x1b"'
    assert quoted("x" * 300) == '"' + "x" * 200 + '..."'
