# Everything a newcomer needs: `make demo`, `make test`, `make up`. Each target prepares what it uses.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export COMMS_HOME ?= $(CURDIR)/.comms
BENCH ?= all

.PHONY: help install demo up down clean test lint format bench chaos dictionary lock

help:  ## Show what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{printf "  make %-10s %s\n", $$1, $$2}'

# The stamp is newer than the lock exactly when the environment matches it.
$(VENV)/.stamp: requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || "$(BIN)/python" -m pip install --quiet --disable-pip-version-check "uv>=0.9"
	@echo "Installing what requirements.lock lists (the first time takes a minute or two)"
	@"$(BIN)/uv" pip sync --quiet --compile-bytecode --python "$(BIN)/python" --require-hashes requirements.lock
	@"$(BIN)/uv" pip install --quiet --python "$(BIN)/python" --no-deps --no-build-isolation --editable .
	@touch $@

install: $(VENV)/.stamp  ## Create .venv with exactly what the lock lists

demo: $(VENV)/.stamp  ## Run the whole main job on the examples
	@"$(BIN)/comms" demo

up: $(VENV)/.stamp  ## Run everything in the foreground; Ctrl-C stops it
	@"$(BIN)/comms" up

down: $(VENV)/.stamp  ## Stop the embedded Postgres
	@"$(BIN)/comms" down

clean:  ## Delete the data (.comms) and the environment
	@if test -x "$(BIN)/comms" && test -d "$(COMMS_HOME)"; then "$(BIN)/comms" clean --yes; fi
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage*

test: lint  ## Lint, types, architecture rules and all tests
	@"$(BIN)/python" -m compileall -q comms_pipeline
	@"$(BIN)/python" -m pytest -n 2 --dist loadgroup --cov --cov-report=term:skip-covered

lint: $(VENV)/.stamp
	@"$(BIN)/ruff" check .
	@"$(BIN)/ruff" format --check --quiet .
	@"$(BIN)/mypy"
	@"$(BIN)/lint-imports"

format: $(VENV)/.stamp  ## Format and fix what can be fixed
	@"$(BIN)/ruff" check --fix --quiet . || true
	@"$(BIN)/ruff" format --quiet .

bench: $(VENV)/.stamp  ## Benchmarks: one line per figure (BENCH=name for one)
	@"$(BIN)/python" -m benchmarks $(BENCH)

chaos: $(VENV)/.stamp  ## Kill everything 300 times while it sends (CHAOS_KILLS, CHAOS_SEED)
	@"$(BIN)/python" tests/chaos.py

dictionary: $(VENV)/.stamp  ## Write docs/data-dictionary.md anew from schema and models
	@"$(BIN)/python" -m comms_pipeline.models.dictionary > docs/data-dictionary.md

hostile: $(VENV)/.stamp  ## Tell a million events through a network that repeats, mixes up and kills (HOSTILE_EVENTS, HOSTILE_KILLS, HOSTILE_SEED)
	@"$(BIN)/python" tests/hostile.py

lock: $(VENV)/.stamp  ## Resolve pyproject.toml anew into requirements.lock
	@"$(BIN)/uv" pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --group dev pyproject.toml -o requirements.lock
