# The two targets a newcomer needs are demo and test; both set up what they use.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test check docs pictures bench soak clean

help: ## List these targets.
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{ printf "make %-8s %s\n", $$1, $$2 }'

setup: $(READY) ## Make .venv and install charrnn and its tools into it.

$(READY): pyproject.toml constraints.txt
	@echo "Setting up $(VENV): a minute or more, most of it to download torch."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[report,tensorboard]" --group dev
	@touch $@

demo: $(READY) ## Get a text, learn it for two minutes, write, score: each step is explained.
	@sh demo.sh $(BIN)/charrnn

test: check ## Run all checks and tests.
	$(BIN)/python -m pytest -q --numprocesses auto --maxprocesses 8 --dist worksteal

check: $(READY) ## Run linters and type checker alone.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror charrnn/models/native/*.[ch]

docs: $(READY) ## Write docs/reference.md anew from the command line.
	$(BIN)/python -m charrnn.cli.reference > docs/reference.md

pictures: $(READY) ## Make the pictures and the notebook's output anew, from real runs; over an hour, with a network.
	$(BIN)/charrnn corpus english shakespeare c
	$(BIN)/python tests/benchmarks/terminal_picture.py corpora/english.txt docs/pictures/terminal.svg
	$(BIN)/python tests/benchmarks/notebook_output.py docs/first-steps.ipynb
	$(BIN)/python tests/benchmarks/loss_picture.py corpora/shakespeare.txt 1.42 docs/pictures/loss.svg
	rm -rf $(VENV)/pictured
	$(BIN)/charrnn train corpora/shakespeare.txt --minutes 1.42 --name shakespeare --out $(VENV)/pictured
	$(BIN)/python tests/benchmarks/interactive_picture.py $(VENV)/pictured/shakespeare docs/pictures/interactive.svg
	$(BIN)/python tests/benchmarks/report_picture.py corpora/shakespeare.txt 1 docs/pictures/report.png
	$(BIN)/python tests/benchmarks/budgets.py corpora/shakespeare.txt 10 30 85 300 900 --out $(VENV)/budgets.json
	$(BIN)/python tests/benchmarks/budgets.py corpora/c.txt 10 30 85 300 900 --out $(VENV)/budgets-c.json
	$(BIN)/python tests/benchmarks/budgets.py --draw $(VENV)/budgets.json $(VENV)/budgets-c.json docs/pictures/budgets.svg
	$(BIN)/python tests/benchmarks/explain_picture.py corpora/shakespeare.txt $(VENV)/explained docs/pictures/explain.png
	$(BIN)/python tests/benchmarks/explain_picture.py corpora/shakespeare.txt $(VENV)/explained --unit docs/pictures/explain-unit.png

bench: $(READY) ## Measure speed, start-up and memory beside plain torch.nn; TEXT=file adds losses after fixed budgets.
	$(BIN)/python tests/benchmarks/bench.py $(if $(TEXT),--text $(TEXT) step inference start memory loss)

soak: $(READY) ## Ten minutes of kills, faults and fuzzing; SECONDS=n for another time.
	-$(BIN)/pip install --quiet atheris
	$(BIN)/python tests/faults/soak.py $(or $(SECONDS),600)

clean: ## Remove what the targets made, but no corpus and no checkpoint.
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
