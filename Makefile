# make simulate, make test: nothing else is needed on a machine with Python 3.11 and make.
PYTHON ?= python3
BIN := .venv/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
INSTALLED := .venv/.installed-$(VERSION)
LOCKED := $(BIN)/uv pip compile --upgrade --quiet --generate-hashes --no-annotate --no-emit-index-url \
    --custom-compile-command "make lock" --python-version 3.11 --python-platform x86_64-unknown-linux-gnu \
    --only-binary :all: --no-binary antlr4-python3-runtime

.PHONY: simulate test e2e oldest-flower lint bench bench-generators gpu-check gpu-foundation lock clean

simulate: $(INSTALLED)          ## the federation on the built-in phantom, up to report.html; interrupted, it goes on
	$(BIN)/cmrfed simulate resume=auto

test: $(INSTALLED)              ## the fast tests
	$(BIN)/pytest -n auto --dist worksteal

e2e: $(INSTALLED)               ## whole runs in real processes
	$(BIN)/pytest tests/e2e --override-ini addopts="-q --strict-markers" -n auto --dist loadfile

oldest-flower: $(INSTALLED)     ## what touches Flower, with the oldest version of it that pyproject.toml allows
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target .oldest-flower "flwr==1.41.0"
	PYTHONPATH=.oldest-flower $(BIN)/pytest tests/e2e/test_provisioned.py tests/test_server.py tests/test_exchange.py \
	    tests/test_nodes.py tests/test_superlink.py tests/test_superlink_process.py tests/test_submission.py \
	    tests/test_simulate_flower.py tests/site/test_boundary.py --override-ini addopts="-q --strict-markers" -n auto

lint: $(INSTALLED)              ## style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)             ## what privacy costs in time
	$(BIN)/python -m benches.privacy

bench-generators: $(INSTALLED)  ## every family of generators, small, on the phantom: runs/generators/families.html
	$(BIN)/cmrfed compare families=all experiment=generators_demo out=runs/generators

gpu-check: $(INSTALLED)         ## that nobody's gradient depends on who shares a step, on this machine's GPU (else its CPU)
	$(BIN)/python -m benches.gpu_check

gpu-foundation: $(INSTALLED)    ## ten minutes of training on this machine's GPU: foundation.safetensors and its card
	$(BIN)/python -m benches.gpu_foundation

lock: $(INSTALLED)              ## what deploy/Dockerfile installs: the newest that pyproject.toml allows, with hashes
	$(LOCKED) --output-file deploy/requirements.lock pyproject.toml
	$(LOCKED) --output-file deploy/build.lock --constraint deploy/requirements.lock deploy/build.in

clean:                          ## remove what can be made again; runs/ stays
	rm -rf .venv .oldest-flower .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or newer is needed, found $(VERSION): make PYTHON=python3.11 ..."; exit 1; }
	@echo "Installing into .venv: some minutes, and 6 to 7 GB of disk, most of it for PyTorch on GPUs."
	@$(BIN)/python -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "$(VERSION)")' 2>/dev/null || \
	    $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --editable ".[dev]"
	touch $(INSTALLED)
