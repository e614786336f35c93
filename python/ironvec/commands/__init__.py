"""What `ironvec` can be told to do: one file a command, one line in the table.

A command's file has `HELP` (one line), `add_arguments(parser)` and `run(options)`, which prints and returns a code.
"""

from __future__ import annotations

COMMANDS = {
    "embed": "embed",
}
