"""The rooms of `src/` take what they may, and no file reads itself over others: CONTRIBUTING.md says why.

A folder and the `mod.rs` in it count as one: what its files share may be written there.
"""

from pathlib import Path

import pytest

from kit import source_tree

SRC = Path(__file__).parent.parent / "src"

# Each room, and what it must never take: crates by name, rooms and files by the beginning of their path in src/.
NEVER = {
    "texts/": ("ort", "pyo3", "sessions/", "lowering/", "architectures/", "inspect/", "python/"),
    "batches/": ("ort", "pyo3", "sessions/", "lowering/", "architectures/", "texts/", "inspect/", "python/"),
    "checkpoint/": (
        "ort", "pyo3", "architectures/", "transformer/", "lowering/", "sessions/", "texts/", "inspect/", "python/",
    ),
    "transformer/": (
        "ort", "pyo3", "checkpoint/", "architectures/", "lowering/", "sessions/", "texts/", "batches/", "inspect/",
        "python/",
    ),
    "architectures/": ("ort", "pyo3", "lowering/", "sessions/", "texts/", "batches/", "inspect/", "python/"),
    "lowering/": ("ort", "pyo3", "architectures/", "sessions/", "texts/", "batches/", "inspect/", "python/"),
    "kernels/": (
        "ort", "pyo3", "checkpoint/", "transformer/", "architectures/", "lowering/", "sessions/", "texts/", "batches/",
        "inspect/", "python/",
    ),
    "sessions/": ("pyo3", "texts/", "architectures/", "embedder.rs", "python/"),
    "inspect/": ("ort", "pyo3", "architectures/", "texts/", "batches/", "embedder.rs", "python/"),
    "embedder.rs": ("ort", "pyo3", "python/"),
    "spec.rs": ("ort", "pyo3", "lowering/", "sessions/", "texts/", "python/"),
    "options.rs": ("ort", "pyo3", "lowering/", "sessions/", "python/"),
    "error.rs": ("ort", "pyo3", "lowering/", "sessions/", "python/"),
    "registry.rs": ("ort", "pyo3", "python/"),
    "memory.rs": ("ort", "pyo3", "python/"),
}  # fmt: skip

# What is still wrong. Nothing may be added, and what is mended must leave.
CIRCLES_TO_MEND: list[list[str]] = []
BREACHES_TO_MEND: set[str] = set()


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    return source_tree.sources(SRC)


def test_the_sources_are_read(files):
    edges = source_tree.reads(files)
    assert len(files) > 60
    assert {"texts/tokenize.rs", "batches/plan.rs", "error.rs"} <= edges["embedder.rs"]
    assert "architectures/fields.rs" in edges["architectures/mod.rs"], "a path without crate:: in front"
    assert "ort" in source_tree.crates(files)["sessions/runtime.rs"]
    for room in NEVER:
        assert any(file.startswith(room) for file in files), f"{room}: no such room"
    named = {what for refused in NEVER.values() for what in refused if "/" in what or what.endswith(".rs")}
    assert all(any(file.startswith(what) for file in files) for what in named), named


def test_no_file_reads_itself_over_others(files):
    assert source_tree.circles(source_tree.between_files(source_tree.reads(files))) == CIRCLES_TO_MEND


def test_rooms_take_what_they_may(files):
    assert source_tree.breaches(files, NEVER) == BREACHES_TO_MEND


def test_only_the_python_room_knows_python(files):
    outside = source_tree.crates(files)
    assert {file for file in files if outside[file] & {"pyo3", "numpy"}} == {
        file for file in files if file.startswith("python/") and outside[file] & {"pyo3", "numpy"}
    }
    assert "pyo3" in outside["python/mod.rs"]


MADE_UP = {
    "lib.rs": "mod a;\nmod room;\n",
    "a.rs": "use crate::room::{self, inner::{First, Second as Other}};\n",
    "room/mod.rs": "mod inner;\nmod plain;\nfn f() { inner::g() }\npub const SIZE: usize = 1;\n",
    "room/inner.rs": "use super::plain;\npub struct First;\n",
    "room/plain.rs": 'use super::SIZE;\n// use crate::a::Nothing;\nconst TEXT: &str = "crate::a";\n',
}


def test_the_checker_reads_paths():
    assert source_tree.reads(MADE_UP) == {
        "lib.rs": set(),
        "a.rs": {"room/mod.rs", "room/inner.rs"},
        "room/mod.rs": {"room/inner.rs"},
        "room/inner.rs": {"room/plain.rs"},
        "room/plain.rs": {"room/mod.rs"},
    }
    assert source_tree.circles(source_tree.between_files(source_tree.reads(MADE_UP))) == []


@pytest.mark.parametrize(
    "line",
    [
        "use crate::a::Thing;",
        "use crate::{a::Thing, room};",
        "use crate::{\n    room,\n    a::{Thing, Other},\n};",
        "pub(crate) use super::super::a::Thing;",
        "fn f() -> crate::a::Thing { todo() }",
    ],
)
def test_the_checker_finds_a_circle(line):
    edges = source_tree.between_files(source_tree.reads(MADE_UP | {"room/plain.rs": line}))
    assert source_tree.circles(edges) == [["a.rs", "room/inner.rs", "room/mod.rs", "room/plain.rs"]]
    tested = f"#[cfg(test)]\nmod tests {{\n    {line}\n}}\n"
    assert source_tree.circles(source_tree.between_files(source_tree.reads({**MADE_UP, "room/plain.rs": tested}))) == []


def test_the_checker_finds_a_breach():
    never = {"room/": ("ort", "a.rs"), "a.rs": ("pyo3", "elsewhere/")}
    assert source_tree.breaches(MADE_UP, never) == set()
    for line, what in {
        "use ort::session::Session;": "ort",
        "fn f() -> Result<(), ort::Error> {}": "ort",
        "use crate::a;": "a.rs",
    }.items():
        broken = MADE_UP | {"room/plain.rs": line}
        assert source_tree.breaches(broken, never) == {f"room/plain.rs -> {what}"}
    for harmless in ("use crate::room::ort::X;", "// use ort::X;", "use report::ort_like;"):
        assert source_tree.breaches(MADE_UP | {"room/plain.rs": harmless}, never) == set()
