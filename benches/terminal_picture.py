"""Draws what commands print: a terminal for each, from its real output.

    python benches/terminal_picture.py [benches/commands.svg]

Runs `demo`, `inspect` and `bench` as they are, in 80 columns. Plain SVG, light or dark as the reader's system is.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ("demo", "inspect minilm", "bench minilm --dtype float32,int8 --batches 1,8,32 --target-p95-ms 20")
MARGIN, LINE, COLUMN, COLUMNS, BAR = 18, 17, 7.8, 80, 30
STYLE = """\
text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#2a303c;white-space:pre}
rect{fill:#f6f7f9;stroke:#d9dde4}.head{fill:#e9ecf1;stroke:none}.command{font-weight:700;fill:#b8501f}
@media (prefers-color-scheme:dark){text{fill:#d7dce5}rect{fill:#171b22;stroke:#323945}.head{fill:#232933}
.command{fill:#f08a4b}}
"""


def printed(command: str) -> list[str]:
    """The lines of a command's output, whatever its exit code: a missed target is output too."""
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-m", "ironvec", *command.split()], env=environment, capture_output=True, encoding="utf-8"
    )
    if not done.stdout:
        sys.exit(f"ironvec {command}: {done.stderr}")
    lines = [line for line in done.stdout.splitlines() if "site-packages" not in line]
    while lines and not lines[0]:
        lines.pop(0)
    return lines


def terminal(top: float, command: str, lines: Sequence[str]) -> tuple[list[str], float]:
    """A terminal's elements, and where it ends."""
    width, height = COLUMN * COLUMNS + 2 * MARGIN, BAR + LINE * len(lines) + MARGIN + 6
    parts = [
        f'<rect x="1" y="{top:g}" width="{width:g}" height="{height:g}" rx="8"/>',
        f'<rect class="head" x="2" y="{top + 1:g}" width="{width - 2:g}" height="{BAR - 4}" rx="7"/>',
        f'<text class="command" x="{MARGIN}" y="{top + 18:g}">$ ironvec {escape(command)}</text>',
    ]
    for index, line in enumerate(lines):
        if line:
            # Stretched to its columns, whatever the reader's font is.
            length = f'textLength="{COLUMN * len(line):.1f}" lengthAdjust="spacingAndGlyphs"'
            y = top + BAR + LINE * (index + 1)
            parts.append(f'<text x="{MARGIN}" y="{y:g}" xml:space="preserve" {length}>{escape(line)}</text>')
    return parts, top + height


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "benches" / "commands.svg"
    parts, top = [], 1.0
    for command in COMMANDS:
        drawn, end = terminal(top, command, printed(command))
        parts, top = parts + drawn, end + 14
    width, height = COLUMN * COLUMNS + 2 * MARGIN + 2, top - 12
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" aria-label="What ironvec demo, inspect and bench print">'
    )
    target.write_text("\n".join([opening, f"<style>{STYLE}</style>", *parts, "</svg>\n"]), encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()
