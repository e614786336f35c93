"""The benchmarks' texts: what the standard library says of itself.

Out: whitespace-joined paragraphs and sentences of the docstrings in a fixed list of modules, read from their source
files, each once and in the order of the files; and the three lists that `choose` draws from them. The same texts each
time for one version of Python.
"""

import ast
import random
import re
import sysconfig
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

MODULES = (  # noqa: SIM905
    "argparse ast asyncio base64 bisect calendar codecs collections concurrent configparser contextlib copy csv "
    "datetime decimal difflib dis doctest email enum fileinput fractions ftplib functools gettext glob gzip hashlib "
    "heapq html http imaplib importlib inspect io ipaddress json locale logging mailbox mimetypes multiprocessing "
    "numbers optparse os pathlib pdb pickle platform plistlib poplib pprint profile pydoc queue random re sched shelve "
    "shlex shutil signal smtplib socket sqlite3 ssl statistics string subprocess tarfile tempfile textwrap threading "
    "timeit tokenize trace traceback turtle types typing unittest urllib uuid wave weakref xml xmlrpc zipfile"
).split()
COUNT = 1024
COUNT_ONE = 100
SHORT_TOKENS = (8, 26)  # sentences: about 16 on average
MIXED_TOKENS = (5, 256)  # paragraphs as they come: about 30 on average
ONE_TOKENS = (12, 12)


class Texts(NamedTuple):
    short: list[str]
    mixed: list[str]
    one: list[str]


def _docstrings() -> list[str]:
    library = Path(sysconfig.get_paths()["stdlib"])
    found = []
    for module in MODULES:
        folder = library / module
        files = sorted(folder.rglob("*.py")) if folder.is_dir() else [library / f"{module}.py"]
        for file in files:
            if not file.is_file() or {"test", "tests"} & set(file.relative_to(library).parts):
                continue
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                    found.append(ast.get_docstring(node) or "")
    return found


def paragraphs() -> list[str]:
    """Each paragraph once, on one line; those without a word are left out."""
    blocks = (" ".join(block.split()) for text in _docstrings() for block in re.split(r"\n\s*\n", text))
    return list(dict.fromkeys(block for block in blocks if re.search("[A-Za-z]{3}", block)))


def sentences(blocks: Sequence[str]) -> list[str]:
    parts = (part for block in blocks for part in re.split(r"(?<=[.!?])\s+(?=[A-Z])", block))
    return list(dict.fromkeys(part for part in parts if re.search("[A-Za-z]{3}", part)))


def choose(count_tokens: Callable[[list[str]], Iterable[int]]) -> Texts:
    """Draws the lists by their lengths, which include the special tokens.

    `count_tokens` must not cut: it tells paragraphs of 256 tokens from longer ones.
    """
    blocks = paragraphs()
    parts = sentences(blocks)
    counted_blocks = list(zip(blocks, count_tokens(blocks), strict=True))
    counted_parts = list(zip(parts, count_tokens(parts), strict=True))

    def draw(counted: list[tuple[str, int]], limits: tuple[int, int], count: int) -> list[str]:
        fitting = [text for text, tokens in counted if limits[0] <= tokens <= limits[1]]
        return random.Random(0).sample(fitting, count)

    return Texts(
        short=draw(counted_parts, SHORT_TOKENS, COUNT),
        mixed=draw(counted_blocks, MIXED_TOKENS, COUNT),
        one=draw(counted_parts, ONE_TOKENS, COUNT_ONE),
    )
