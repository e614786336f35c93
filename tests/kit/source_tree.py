"""Which file of `src/` reads which, and what each room takes from outside: from the paths written in the sources.

In: files' names and texts. Out: edges, circles, and breaches of rules. Unit tests at the end of a file do not count.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

_PATHS = re.compile(r"(?<![\w:])(?:(?:pub(?:\([a-z ]+\))?\s+)?use\s+)?((?:crate|super|self)(?:::\w+)*)(::\{)?")
_LOCAL = re.compile(r"(?<![\w:])([a-z]\w*)(?=::)((?:::\w+)*)(::\{)?")


def sources(folder: Path) -> dict[str, str]:
    """The texts of a folder's Rust files by their names in it."""
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in folder.rglob("*.rs")}


def code(text: str) -> str:
    """Without comments, texts in quotes and the unit tests."""
    text = re.split(r"^#\[cfg\(test\)\]\n(?:pub(?:\([a-z ]+\))? )?mod \w+ \{", text, maxsplit=1, flags=re.MULTILINE)[0]
    text = re.sub(r"//[^\n]*", "", text)
    return re.sub(r'"(?:\\.|[^"\\])*"', '""', text, flags=re.DOTALL)


def _module(file: str) -> tuple[str, ...]:
    parts = file.removesuffix(".rs").split("/")
    return tuple(parts[:-1] if parts[-1] in ("mod", "lib") else parts)


def _branches(text: str, start: int) -> Iterator[tuple[str, ...]]:
    """The paths within the braces that open before `start`."""
    depth, item = 0, ""
    for at in range(start, len(text)):
        sign = text[at]
        if sign == "{":
            depth += 1
        if sign == "}":
            depth -= 1
        if depth < 0 or (sign == "," and depth == 0):
            head, brace, _ = item.strip().partition("::{")
            path = tuple(head.split(" as ")[0].strip().split("::")) if head.strip() else ()
            if brace:
                inner = item.index("::{") + 3
                yield from (path + branch for branch in _branches(item, inner))
            elif path:
                yield path
            item = ""
            if depth < 0:
                return
        else:
            item += sign


def _written(file: str, text: str) -> Iterator[tuple[str, ...]]:
    """Every path of the crate that a file's code names, from the root."""
    own = _module(file)
    for match in _PATHS.finditer(text):
        first, *rest = match[1].split("::")
        base = {"crate": (), "self": own, "super": own[:-1]}[first]
        while rest and rest[0] == "super":
            base, rest = base[:-1], rest[1:]
        branches = _branches(text, match.end()) if match[2] else [()]
        yield from (base + tuple(rest) + branch for branch in branches)
    for match in _LOCAL.finditer(text):
        if match[1] not in ("crate", "super", "self"):
            branches = _branches(text, match.end()) if match[3] else [()]
            rest = tuple(part for part in match[2].split("::") if part)
            yield from ((*own, match[1], *rest, *branch) for branch in branches)


def reads(files: Mapping[str, str]) -> dict[str, set[str]]:
    """Each file, and the files whose items it names."""
    modules = {_module(file): file for file in files}
    edges: dict[str, set[str]] = {}
    for file, text in files.items():
        found = edges.setdefault(file, set())
        for path in _written(file, code(text)):
            known = [path[:end] for end in range(len(path), 0, -1) if path[:end] in modules]
            if known and modules[known[0]] != file:
                found.add(modules[known[0]])
    return edges


def between_files(edges: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """Without those from a file to the `mod.rs` of a folder that it lies in."""

    def is_face(target: str, file: str) -> bool:
        return target.endswith("/mod.rs") and file.startswith(target.removesuffix("mod.rs"))

    return {file: {target for target in targets if not is_face(target, file)} for file, targets in edges.items()}


def circles(edges: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Groups of files that read each other, over others or not; each sorted."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for target in edges.get(waiting.pop(), ()):
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
        return seen

    everywhere = {file: reached(file) for file in edges}
    groups = {tuple(sorted(other for other in everywhere[file] if file in everywhere.get(other, ()))) for file in edges}
    return sorted(list(group) for group in groups if len(group) > 1)


def crates(files: Mapping[str, str]) -> dict[str, set[str]]:
    """Each file, and the crates beside our own that its paths begin with."""
    return {file: set(re.findall(r"(?<![\w:])([a-z_]\w*)::", code(text))) for file, text in files.items()}


def breaches(files: Mapping[str, str], never: Mapping[str, Iterable[str]]) -> set[str]:
    """`file -> what` for each that a room must not take: a crate's name, or the beginning of a file's name."""
    edges, outside = reads(files), crates(files)
    found = set()
    for room, refused in never.items():
        for file in files:
            if file.startswith(room):
                for what in refused:
                    if "/" in what or what.endswith(".rs"):
                        found |= {f"{file} -> {target}" for target in edges[file] if target.startswith(what)}
                    elif what in outside[file]:
                        found.add(f"{file} -> {what}")
    return found
