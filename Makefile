# The two targets a newcomer needs are demo and test; both set up what they use.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench soak clean

help: ## List these targets.
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{ printf "make %-8s %s\n", $$1, $$2 }'

setup: $(READY) ## Make .venv and install charrnn and its tools into it.

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable . --group dev
	@touch $@

demo: $(READY) ## Gather C headers from this machine, train on them for two minutes, sample and score.
	$(BIN)/charrnn corpus c
	$(BIN)/charrnn train corpora/c.txt --minutes 2 --name demo
	@echo
	$(BIN)/charrnn sample checkpoints/demo --length 600 --temperature 0.7 --seed 1
	@echo
	$(BIN)/charrnn perplexity checkpoints/demo README.md --unknown skip

test: $(READY) ## Run all checks and tests.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q

check: $(READY) ## Run linter and type checker alone.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY) ## Measure speed, memory and quality on this machine.
	$(BIN)/python tests/benchmarks/bench.py

clean: ## Remove what the targets made, but no corpus and no checkpoint.
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
