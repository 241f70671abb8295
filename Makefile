# One word a habit. `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN_READY := $(VENV)/.ready
DEV_READY := $(VENV)/.ready-dev

.DEFAULT_GOAL := help
.PHONY: help run test coverage lint types bench soak proto lock screenshots clean

help:  ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-12s %s\n", $$1, $$2}'

run: $(RUN_READY)  ## Run the console (installs what it needs first)
	@exec $(BIN)/localai-admin up $(ARGS)

test: lint types  ## Everything: lint, types, unit, web, integration and browser tests
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh scripts/test.sh $(ARGS)

coverage: $(DEV_READY)  ## The tests, counting the lines and branches they reach, which takes half as long again
	@COVERAGE=yes PATH="$(CURDIR)/$(BIN):$$PATH" sh scripts/test.sh

lint: $(DEV_READY)  ## Style of code and templates, and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/djlint templates --lint --quiet
	$(BIN)/lint-imports --no-cache

types: $(DEV_READY)  ## Types, strict in the pure modules
	$(BIN)/mypy

bench: $(DEV_READY)  ## Measure speed, memory and page weight; prints a table
	$(BIN)/python -m tests.bench $(ARGS)

soak: $(DEV_READY)  ## Kill 200 workers of installs, then parts of a console at random, and look whether anything is lost
	$(BIN)/python -m tests.soak $(ARGS)

proto: $(DEV_READY)  ## Make the gRPC stubs anew from the .proto file
	PATH="$(CURDIR)/$(BIN):$$PATH" sh scripts/proto.sh

lock:  ## Make the lock files anew (needs uv)
	sh scripts/lock.sh

screenshots: $(DEV_READY)  ## Take the README's pictures anew
	$(BIN)/python -m tests.screenshots

clean:  ## Remove what was made, the data folder excepted
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .coverage* htmlcov build *.egg-info

$(VENV)/bin/python:
	@$(PYTHON) -m venv $(VENV) || { echo "A virtual environment could not be made. On Debian: apt-get install python3-venv"; exit 1; }

$(RUN_READY): requirements.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(DEV_READY): requirements-dev.lock $(RUN_READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	@touch $@
