# On a clean clone: `make demo`. Needs only make and a Python 3.11 or newer.
VENV := .venv
BOOT := .tools
PYTHON ?= python3
UV := $(or $(shell command -v uv 2>/dev/null),$(BOOT)/bin/uv)
PY := $(VENV)/bin/python
export UV_PYTHON_DOWNLOADS := never
# Compiled once, not by each process that starts: images often say otherwise, and to start took three times as long.
unexport PYTHONDONTWRITEBYTECODE
INSTALL = $(UV) pip install -q --python $(PY)
SHELL := /bin/bash
# A process per core, each with a database server of its own; the tests of a file stay together, the longest files first.
TESTS = $(PY) -m pytest -q -n auto --dist loadfile --no-loadscope-reorder

.PHONY: help setup demo test check bench validate fuzz simulate clean lock openapi browser

help: ## What can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ -/'

setup: $(VENV)/.run ## Install the product into .venv

$(BOOT)/bin/uv:
	$(PYTHON) -m venv $(BOOT)
	$(BOOT)/bin/python -m pip install -q --disable-pip-version-check 'uv>=0.13,<0.14'

$(PY): | $(UV)
	$(UV) venv -q --allow-existing --python '$(PYTHON)' $(VENV)

$(VENV)/.run: requirements.lock pyproject.toml | $(PY)
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-deps -e .
	@touch $@

$(VENV)/.%: requirements-%.lock $(VENV)/.run
	$(INSTALL) --require-hashes -r requirements.lock -r $<
	@touch $@

demo: $(VENV)/.run ## Play the story and keep serving (ONCE=1, DATA=folder, PORT=8080)
	$(VENV)/bin/xinqiao demo $(if $(ONCE),--once) $(if $(DATA),--data $(DATA)) $(if $(PORT),--port $(PORT)) $(ARGS)

test: $(VENV)/.run $(VENV)/.test ## The tests that need Python and the embedded database only
	$(TESTS) -m "not browser and not npm and not check" $(ARGS)

check: $(VENV)/.run $(VENV)/.test $(VENV)/.lint $(VENV)/.browser $(VENV)/.ray $(VENV)/.validation ## Everything CI runs
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/xinqiao openapi --check
	$(TESTS) $(ARGS)

bench: $(VENV)/.run ## Benchmarks (ONLY=name, SIZE=small|full)
	$(PY) -m benchmarks --size $(or $(SIZE),small) $(if $(ONLY),--only $(ONLY))

validate: $(VENV)/.run $(VENV)/.validation ## Whether the score is honest: gates with n and intervals (ONLY=name, SIZE=small|full)
	$(PY) -m benchmarks.validation --size $(or $(SIZE),small) $(if $(ONLY),--only $(ONLY))

fuzz: $(VENV)/.run $(VENV)/.test ## Send the authorization server what is almost right (REQUESTS=50000)
	FUZZ_REQUESTS=$(or $(REQUESTS),50000) $(PY) -m pytest -q --show-capture=no tests/api/test_oauth_fuzz.py $(ARGS)

simulate: $(VENV)/.run $(VENV)/.test ## Live random lives of consents against the model (LIVES=10000)
	LIVES=$(or $(LIVES),10000) $(PY) -m pytest -q --show-capture=no tests/simulation/test_random_consents.py $(ARGS)

openapi: $(VENV)/.run ## Regenerate openapi/v1.yaml
	$(VENV)/bin/xinqiao openapi

specs: $(VENV)/.run $(VENV)/.test ## Regenerate docs/specs.md
	$(PY) tests/support/specs.py

COMPILE = $(UV) pip compile -q --universal --generate-hashes --no-header --no-emit-index-url --no-annotate --python-version 3.11
lock: | $(UV) ## Regenerate the lock files from pyproject.toml
	$(COMPILE) pyproject.toml -o requirements.lock
	for g in test lint browser validation; do $(COMPILE) --group $$g -c requirements.lock -o requirements-$$g.lock; done
	$(COMPILE) pyproject.toml --extra ray -c requirements.lock -c requirements-test.lock -o requirements-ray.lock

clean: ## Remove what was installed and built here
	rm -rf $(VENV) $(BOOT) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache benchmarks/latest.jsonl
