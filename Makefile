# Each target makes its own .venv from constraints.txt when it is missing or older than its pins.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check format schemas bench

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ -/'

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[all,dev]'
	touch $(READY)

demo: $(READY)  ## the main job on embedded real data: score, prune, load, evaluate
	PATH="$(CURDIR)/$(BIN):$$PATH" sh pipelines/demo.sh

test: $(READY)  ## the default suite: no GPU, no network, under three minutes
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

test-all: $(READY)  ## the slow tests, those on real data (DATAPRUNE_DATA), those in a browser
	$(BIN)/pytest -m "slow or real_data or browser"

check: $(READY)  ## format, lint, types, import order, generated schemas
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m dataprune.tables.schemas --check
	$(BIN)/python -m dataprune.scores._catalogue --check

format: $(READY)  ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schemas: $(READY)  ## write schemas/ and the table of scores anew from the code
	$(BIN)/python -m dataprune.tables.schemas
	$(BIN)/python -m dataprune.scores._catalogue

bench: $(READY)  ## speed as ratios within one run
	$(BIN)/python -m benchmarks
