"""`examples/validation.md` and README: the commands that they name exist, with the options that they name."""

import re
from pathlib import Path

import pytest

from ironvec.cli import main
from ironvec.commands import COMMANDS

ROOT = Path(__file__).parents[1]
SHOWN = re.findall(
    r"^\$ ironvec (.*)$", (ROOT / "examples" / "validation.md").read_text(encoding="utf-8"), re.MULTILINE
)


def test_the_three_jobs_are_shown():
    assert {line.split()[0] for line in SHOWN} == {"inspect", "validate", "bench"}


@pytest.mark.parametrize("line", SHOWN)
def test_a_command_that_is_shown_exists(line, capsys):
    command, *words = line.split()
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = capsys.readouterr().out
    for option in (word.partition("=")[0] for word in words if word.startswith("--")):
        assert re.search(rf"^  {option}\b", text, re.MULTILINE), option


def test_readme_names_the_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in set(COMMANDS) - {"cache", "demo"}:
        assert f"`{name}`" in text, name
    assert (ROOT / "benches" / "commands.svg").is_file()


def test_the_picture_shows_real_output():
    picture = (ROOT / "benches" / "commands.svg").read_text(encoding="utf-8")
    for command in ("demo", "inspect minilm", "bench minilm"):
        assert f"$ ironvec {command}" in picture
    # The scores of sentence-transformers 6.2 on this model, and what its files hold.
    for figure in ("0.8561", "0.1005", "22,713,216", "384, scaled to length 1"):
        assert figure in picture
