# Everything a checkout can do. Needs Python 3.11 or newer, make and git; the rest goes into .venv, from requirements.lock.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
SOURCES := $(wildcard pattern_stream tests benchmarks examples)
ARGS ?=

# Other implementations, for `make interop`; where a language is missing, its tests are skipped.
INTEROP := .interop
NODE_MODULES := $(INTEROP)/js/node_modules/.package-lock.json
GO := $(or $(shell command -v go 2>/dev/null),$(wildcard /usr/local/go/bin/go))
NPM := $(shell command -v npm 2>/dev/null)

# The environment of what changes the sources, for `make mutants`, and what it made.
MUTANTS := .mutants

# The first of these that starts, is new enough and can make an environment. `make PYTHON=/path/to/python` overrides.
PYTHONS := python3.13 python3.12 python3.11 python3 python
SUITABLE := import ensurepip, sqlite3, sys, venv; sys.exit(sys.version_info < (3, 11))

.PHONY: help demo test format lint types bench soak interop matrix package hostile fuzz mutants check coverage lock clean

help: ## this list
	@echo 'make TARGET, where TARGET is one of'
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo 'The first of them that needs it makes $(VENV). PYTHON=... chooses the interpreter, ARGS=... goes to test, demo, bench, soak, interop, matrix and mutants.'

demo: $(STAMP) ## a tour in under a minute: make a constellation, export it, look into the archive
	@echo '== demo: examples/tour.py'
	@$(BIN)/python examples/tour.py $(ARGS)

test: $(STAMP) ## all tests, on every processor (ARGS=-n0: on one)
	@echo '== test: pytest'
	@$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

format: $(STAMP) ## rewrite the sources in the house format
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/ruff check --fix-only --quiet $(SOURCES)

lint: $(STAMP) ## ruff: rules and format
	@echo '== lint: ruff'
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)

types: $(STAMP) ## mypy, strict, over package, tests, benchmarks and examples
	@echo '== types: mypy'
	@$(BIN)/mypy $(SOURCES)

bench: $(STAMP) ## measure whole lines and stages beside their peers, write the tables of the README (an hour; ARGS=--quick: minutes, ARGS=--help)
	@echo '== bench: benchmarks'
	@$(BIN)/python -m benchmarks $(ARGS)

soak: $(STAMP) ## exports beside a living writer, kill -9, faults of the disk (up to an hour; ARGS=--help)
	@echo '== soak: tests.soak'
	@$(BIN)/python -m tests.soak $(ARGS)

interop: $(STAMP) $(if $(GO),$(INTEROP)/carprobe) $(if $(NPM),$(NODE_MODULES)) $(INTEROP)/python/.ready ## go-car, @ipld/car, ipfs-car and atproto read what we write, and we what they write
	@echo '== interop: pytest tests/interop$(if $(GO),,; no go)$(if $(NPM),,; no npm)'
	@PATTERN_STREAM_INTEROP=$(INTEROP) $(BIN)/python -m pytest tests/interop $(ARGS)

matrix: $(STAMP) ## all tests on every Python named in pyproject.toml, with oldest and newest dependencies (an hour)
	@echo '== matrix: tests.packaging.matrix'
	@$(BIN)/python -m tests.packaging.matrix $(ARGS)

package: $(STAMP) ## wheel and sdist into dist/; each into an empty environment, where the tour runs
	@echo '== package: tests.packaging.install'
	@$(BIN)/python -m tests.packaging.install

hostile: $(STAMP) ## every hostile archive through every command, every flipped byte and cut through import (half an hour)
	@echo '== hostile: tests.hostile'
	@$(BIN)/python -m tests.hostile $(ARGS)
	@echo '== hostile: every flipped byte, every cut'
	@PATTERN_STREAM_COMPLETE=1 $(BIN)/python -m pytest tests/pipelines/test_flipped_bytes.py

fuzz: $(STAMP) ## look for bytes that break a reader, a minute for each target; ARGS=-max_total_time=600 for longer
	@echo '== fuzz: tests.fuzz'
	@$(BIN)/python -m tests.fuzz all $(or $(ARGS),-max_total_time=60)

mutants: $(STAMP) $(MUTANTS)/python/.ready ## change codec, chunking and walking in every small way: a test must fail (an hour; ARGS=car.py)
	@echo '== mutants: tests.mutation'
	@$(BIN)/python -m tests.mutation --python $(MUTANTS)/python/bin/python --folder $(MUTANTS) $(ARGS)

check: lint types test ## lint, types and test: what CI runs

coverage: $(STAMP) ## all tests, then the branches they did not take
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

lock: ## resolve pyproject.toml anew into requirements.lock (needs uv)
	@command -v uv >/dev/null || { echo 'make lock needs uv: https://docs.astral.sh/uv' >&2; exit 1; }
	@sed -n '1,/^$$/p' requirements.lock > requirements.lock.new
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    --upgrade --group dev pyproject.toml >> requirements.lock.new
	@mv requirements.lock.new requirements.lock

# What `make interop` compares with: their versions are pinned, by hash, in tests/interop/{go,js,python}.
$(INTEROP)/carprobe: tests/interop/go/main.go tests/interop/go/go.mod tests/interop/go/go.sum
	@echo '== $(INTEROP): building a program around go-car'
	@mkdir -p $(INTEROP)
	@cd tests/interop/go && $(GO) build -o $(abspath $@) .

$(NODE_MODULES): tests/interop/js/package.json tests/interop/js/package-lock.json tests/interop/js/.npmrc
	@echo '== $(INTEROP): installing @ipld/car and ipfs-car'
	@mkdir -p $(INTEROP)/js && cp $^ $(INTEROP)/js
	@cd $(INTEROP)/js && $(NPM) ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

$(INTEROP)/python/.ready: tests/interop/python/requirements.txt | $(STAMP)
	@echo '== $(INTEROP): installing atproto into an environment of its own'
	@$(BIN)/python -m venv --clear $(INTEROP)/python
	@$(INTEROP)/python/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(MUTANTS)/python/.ready: tests/mutation/requirements.txt | $(STAMP)
	@echo '== $(MUTANTS): installing mutmut into an environment of its own'
	@$(BIN)/python -m venv --clear $(MUTANTS)/python
	@$(MUTANTS)/python/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

clean: ## remove .venv and everything that was built or cached
	rm -rf $(VENV) $(INTEROP) $(MUTANTS) .matrix build dist htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

# A half-made environment has no stamp, so it is made again; so is one older than the lock or the project file.
$(STAMP): requirements.lock pyproject.toml
	@set -e; \
	found='$(PYTHON)'; \
	for candidate in $(if $(PYTHON),,$(PYTHONS)); do \
	    if $$candidate -c '$(SUITABLE)' >/dev/null 2>&1; then found=$$candidate; break; fi; \
	done; \
	if [ -z "$$found" ] || ! $$found -c '$(SUITABLE)' >/dev/null 2>&1; then \
	    echo "error: no suitable Python: tried $${found:-$(PYTHONS)}; expected 3.11 or newer with venv, ensurepip and sqlite3" >&2; \
	    echo 'hint: install one (on Debian: python3 and python3-venv), or name it: make PYTHON=/path/to/python3' >&2; \
	    exit 1; \
	fi; \
	echo "== $(VENV): a new environment of $$($$found --version) ($$found)"; \
	$$found -m venv --clear $(VENV); \
	echo '== $(VENV): installing the locked set of requirements.lock'; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock; \
	echo '== $(VENV): installing this checkout into it'; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .; \
	touch $@; \
	echo '== $(VENV): ready'
