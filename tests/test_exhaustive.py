"""No decision on an enum of ours has an arm for "all others": a variant that is added does not compile until every
place says what it does with it. A new provider that fell into such an arm would run on the CPU, prove itself against
the CPU, and report its own name. (clippy's wildcard_enum_match_arm asks the same of others' enums, whose variants are
theirs to add.)
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent.parent / "src"
# An error passes through where it is not of interest; of a pickle's items all but the expected one are refused.
NOT_DECIDED_ON = {"Error", "FoldError", "Item", "Global"}

pytestmark = pytest.mark.skipif(not SOURCES.is_dir(), reason="needs the sources")


def code_of(path: Path) -> str:
    """A file without its tests, comments and the contents of its strings; lines stay where they are."""
    code = path.read_text(encoding="utf-8").split("#[cfg(test)]\nmod ")[0].split("#[cfg(test)]\npub(crate) mod ")[0]
    code = re.sub(r"//[^\n]*", "", code)
    return re.sub(r'"(?:\\.|[^"\\])*"', lambda string: '"' + "\n" * string[0].count("\n") + '"', code, flags=re.DOTALL)


def arms(block: str) -> Iterator[str]:
    """The patterns of a match's arms, guards included."""
    depth, start, at = 0, 0, 0
    while at < len(block):
        if block[at] in "([{":
            depth += 1
        elif block[at] in ")]}":
            depth -= 1
        elif depth == 0 and block.startswith("=>", at):
            yield block[start:at].strip()
            at = start = end_of_arm(block, at + 2)
            continue
        at += 1


def end_of_arm(block: str, at: int) -> int:
    body = at + len(block[at:]) - len(block[at:].lstrip())
    depth = 0
    for end in range(body, len(block)):
        depth += (block[end] in "([{") - (block[end] in ")]}")
        if depth == 0 and (block[end] == "," or (block[end] == "}" and block[body] == "{")):
            after = block[end + 1 :].lstrip()
            return len(block) - len(after.removeprefix(",") if block[end] == "}" else after)
    return len(block)


def block_after(code: str, at: int) -> str:
    """What the next braces hold that are not within parentheses."""
    depth = 0
    for start in range(at, len(code)):
        if code[start] == "{" and depth == 0:
            inner = 0
            for end in range(start, len(code)):
                inner += (code[end] == "{") - (code[end] == "}")
                if inner == 0:
                    return code[start + 1 : end]
        depth += (code[start] in "([") - (code[start] in ")]")
    return ""


def catches_all(pattern: str) -> bool:
    """Whether a pattern names no variant: `_`, `other`, `(_, _)`, with or without a guard."""
    pattern = re.split(r"\bif\b", pattern)[0].strip()
    return re.fullmatch(r"[(\s]*(?:_|[a-z]\w*)(?:\s*,\s*(?:_|[a-z]\w*))*[)\s]*", pattern) is not None


def shortcuts(code: str, enums: set[str]) -> list[str]:
    own = rf"\b(?:\w+::)*(?:{'|'.join(sorted(enums))})::[A-Z]\w*"
    one_line = rf"[!=]=\s*[&*]*{own}|{own}\s*[!=]=|matches!\([^;{{]*?{own}|\blet\s+[&(\w\s]*{own}|contains\(&{own}"
    found = [match[0] for match in re.finditer(one_line, code)]
    for match in re.finditer(r"\bmatch\b", code):
        patterns = list(arms(block_after(code, match.end())))
        if any(re.search(own, pattern) for pattern in patterns):
            found += [f"match … {pattern} =>" for pattern in patterns if catches_all(pattern)]
    return found


def test_every_decision_on_an_enum_of_ours_names_every_variant():
    files = {path: code_of(path) for path in sorted(SOURCES.rglob("*.rs"))}
    declared = re.compile(r"^\s*(?:pub(?:\(\w+\))? )?enum (\w+)", re.MULTILINE)
    enums = {name for code in files.values() for name in declared.findall(code)} - NOT_DECIDED_ON
    assert {
        "Provider",
        "FixedShapes",
        "Arithmetic",
        "Network",
        "NormKind",
        "PoolingMode",
        "Role",
        "Precision",
    } <= enums
    found = {str(path.relative_to(SOURCES)): shortcuts(code, enums) for path, code in files.items()}
    assert {name: places for name, places in found.items() if places} == {}


@pytest.mark.parametrize(
    "code",
    [
        "if provider == Provider::Cuda { a() }",
        "if *mode != crate::model::PoolingMode::Max { a() }",
        "matches!(asked, Provider::CoreMl | Provider::Cuda)",
        "if let Provider::Cuda = asked { a() }",
        "let Provider::Cuda = asked else { return };",
        "modes.contains(&PoolingMode::Max)",
        "match asked { Provider::Cuda => a(), _ => b() }",
        "match asked { Provider::Cuda => { a(|x| { x }) } other => b(other), }",
        "match (asked, there) { (Provider::Cuda, true) => a(), (_, _) => b() }",
        "match asked { Provider::Cuda if a => x(1, 2), Provider::Cpu => y { z: 1 }, _ if b => {} }",
    ],
)
def test_it_is_seen_where_one_does_not(code):
    assert shortcuts(code, {"Provider", "PoolingMode"})


@pytest.mark.parametrize(
    "code",
    [
        "match asked { Provider::Cuda => match x { Some(y) => y, _ => z }, Provider::Cpu => b }",
        "match kind { ErrorKind::NotFound => a, _ => b(Provider::Cpu) }",
        'match name { "" => Provider::Cpu, _ => Provider::Cuda }',
        "match (asked, x) { (Provider::Cuda, _) => a, (Provider::Cpu, x) => x }",
        "let plan = Provider::Cuda;",
    ],
)
def test_what_is_no_shortcut_passes(code):
    assert not shortcuts(code, {"Provider", "PoolingMode"})
