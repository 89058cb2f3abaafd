# One word for each thing. `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin

# Python compiles each module once, and not in each of the many processes that the tests start.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.venv/pycache
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help dev run check lint types test coverage explore docs bench clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 18

dev: $(BIN)/uv ## make the environment to work in (.venv)
	$(BIN)/uv sync --locked --inexact

$(BIN)/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet uv

run: dev ## start the server
	$(BIN)/tasks-server serve

check: dev lint types coverage ## all that must pass before a change goes in

lint: ## style, formatting, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: ## mypy, strict
	$(BIN)/mypy

test: ## the tests
	$(BIN)/pytest -n auto

coverage: ## the tests, with at least 90 % of branches covered
	rm -f .coverage .coverage.*
	$(BIN)/pytest -n auto --cov --cov-report=term --cov-fail-under=90

explore: ## the property tests with new examples, many of them
	HYPOTHESIS_PROFILE=explore $(BIN)/pytest -n auto tests/domain tests/simulation tests/store \
		tests/engine/handlers tests/engine/http/test_fuzz_http_*.py tests/cli/test_telemetry.py

docs: ## write the parts of the documentation that are made from the code
	$(BIN)/python -m tests.tidy.documents

bench: dev ## measure everything in short runs; see bench/README.md
	$(BIN)/python -m bench --quick

clean: ## remove what was made
	rm -rf .venv .coverage .coverage.* htmlcov .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist
