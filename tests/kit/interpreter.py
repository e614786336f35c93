"""A new Python interpreter: for what could hang or kill the one that runs the tests, or has to start from nothing."""

import os
import subprocess
import sys


def python(code: str, *arguments: object, timeout_s: float = 60, **environment: str) -> str:
    """What it prints. It must end well and by itself, within `timeout_s`."""
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    variables = {**os.environ, **environment}
    run = subprocess.run(command, timeout=timeout_s, capture_output=True, text=True, env=variables)
    assert run.returncode == 0, f"exit status {run.returncode}\n{run.stderr[-2000:]}"
    return run.stdout
