"""A family's checkpoint with another config.json."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from kit.checkpoints import write_json
from kit.families import CASES


def changed(name: str, folder: Path, changes: Mapping[str, Any], without: Collection[str] = ()) -> Path:
    CASES[name].write(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config = {key: value for key, value in config.items() if key not in without}
    write_json(folder / "config.json", config | changes)
    return folder
