# `make up` serves, `make test` tests; both install what they need from the lock files first.

PYTHON ?= python3
VENV ?= .venv
PY = $(VENV)/bin/python
UV = $(shell command -v uv 2>/dev/null)
ENV = set -a; if [ -f .env ]; then . ./.env; fi; set +a;

.PHONY: up test check lock openapi configuration docs-check bench bench-forecast bench-ingest clean

up: $(VENV)/.installed
	@$(ENV) exec $(PY) manage.py up

test: $(VENV)/.installed-dev
	@$(PY) -m pytest

check: $(VENV)/.installed-dev
	@$(PY) -m tests.check

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info[:2] < (3, 13) else "Python 3.11 or 3.12 is needed; say which with make PYTHON=...")'
ifeq ($(UV),)
	@$(PYTHON) -m venv $(VENV)
else
	@$(UV) venv --quiet --seed --python $(PYTHON) $(VENV)
endif

INSTALL = $(if $(UV),$(UV) pip install --quiet --python $(PY),$(PY) -m pip install --quiet --disable-pip-version-check)

$(VENV)/.installed: requirements/run.txt | $(VENV)/bin/python
	@echo "Installing the service into $(VENV)."
	@$(INSTALL) --require-hashes -r requirements/run.txt
	@touch $@

$(VENV)/.installed-dev: requirements/dev.txt | $(VENV)/bin/python
	@echo "Installing the service and its tests into $(VENV)."
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@ $(VENV)/.installed

# Written by tools from the code; `make check` refuses when they differ.

openapi: $(VENV)/.installed-dev
	@$(PY) manage.py spectacular --validate --fail-on-warn --file docs/api/openapi.yml

configuration: $(VENV)/.installed-dev
	@$(PY) manage.py describe_settings > docs/configuration.md

COMPILE = $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header

lock: $(VENV)/.installed-dev
	@$(COMPILE) pyproject.toml --extra embedded -o requirements/run.txt
	@$(COMPILE) pyproject.toml --extra embedded --extra test --extra dev -c requirements/run.txt -o requirements/dev.txt

clean:
	@rm -rf $(VENV) .venv-bench .mypy_cache .ruff_cache .pytest_cache staticfiles
