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

# The first of these that starts, is new enough and can make an environment. `make PYTHON=/path/to/python` overrides.
PYTHONS := python3.13 python3.12 python3.11 python3 python
SUITABLE := import ensurepip, sqlite3, sys, venv; sys.exit(sys.version_info < (3, 11))

.PHONY: help demo test format lint types bench check coverage lock clean

help: ## this list
	@echo 'make TARGET, where TARGET is one of'
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo 'The first of them that needs it makes $(VENV). PYTHON=... chooses the interpreter, ARGS=... goes to test, demo and bench.'

demo: $(STAMP) ## a tour in under a minute: make a constellation, export it, look into the archive
	@echo '== demo: examples/tour.py'
	@$(BIN)/python examples/tour.py $(ARGS)

test: $(STAMP) ## all tests
	@echo '== test: pytest'
	@$(BIN)/python -m pytest $(ARGS)

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

bench: $(STAMP) ## measure export and import beside their peers, write the tables of the README (minutes)
	@echo '== bench: benchmarks.bench_export'
	@$(BIN)/python -m benchmarks.bench_export --readme $(ARGS)
	@echo '== bench: benchmarks.bench_import'
	@$(BIN)/python -m benchmarks.bench_import --readme $(ARGS)

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

clean: ## remove .venv and everything that was built or cached
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
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
