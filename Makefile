# make simulate, make test: nothing else is needed on a machine with Python 3.11 and make.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: simulate test e2e lint bench gpu-check clean

simulate: $(INSTALLED)          ## the federation on the built-in phantom, up to report.html
	$(BIN)/cmrfed simulate

test: $(INSTALLED)              ## the fast tests
	$(BIN)/pytest -n auto

e2e: $(INSTALLED)               ## whole runs in real processes
	$(BIN)/pytest tests/e2e --override-ini addopts="-q --strict-markers"

lint: $(INSTALLED)              ## style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)             ## what privacy costs in time
	$(BIN)/python -m simulations.bench

gpu-check: $(INSTALLED)         ## that nobody's gradient depends on who shares a step, on this machine's GPU (else its CPU)
	$(BIN)/python -m simulations.gpu_check

clean:                          ## remove what can be made again; runs/ stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable ".[dev]"
	touch $(INSTALLED)
