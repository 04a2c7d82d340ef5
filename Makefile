# `make up` serves, `make test` tests, `make check` checks; each installs what it needs from the lock files first.

SHELL := bash
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV ?= .venv
PY = $(VENV)/bin/python
UV = $(shell command -v uv 2>/dev/null)

.PHONY: up test chaos soak test-postgresql browser check lock openapi configuration bench bench-forecast bench-stack bench-ingest bench-features bench-anomaly bench-serving bench-audit bench-observing bench-request bench-explain bench-drift clean

up: $(VENV)/.installed
	@set -a; if [ -f .env ]; then . ./.env; fi; set +a; exec $(PY) manage.py up

TEST_PROCESSES ?= logical

test: $(VENV)/.installed-dev $(VENV)-torch/.installed browser
	@$(PY) -m pytest -n $(TEST_PROCESSES) --dist worksteal
	@$(VENV)-torch/bin/python -m pytest tests/torch

# Faults in the running product, with the leases of a deployment (`make test` has shorter ones); prints their table.
chaos: $(VENV)/.installed-dev
	@JOB_LEASE_SECONDS=60 $(PY) -m pytest tests/chaos --timeout=900

# What asks most of the server, on the majors before the wheel's: migrations, the objects in SQL, row security, the
# audit's triggers. On TimescaleDB they run in `make test`.
POSTGRESQL ?= 15 16 17
OF_THE_SERVER = $(addprefix tests/features/test_,parity.py stored_features.py check_features.py hypertables.py \
	retention.py known_then.py ingest.py export_features_command.py) tests/tenancy/test_row_security.py tests/audit/test_chain.py

test-postgresql: $(VENV)/.installed-dev
	@for major in $(POSTGRESQL); do \
		echo "== PostgreSQL $$major"; \
		HUB_TEST_POSTGRESQL=$$major $(PY) -m pytest -n $(TEST_PROCESSES) --dist worksteal -k "not timescaledb" $(OF_THE_SERVER) || exit; \
	done

# All routes at once: rate, latencies, errors, memory. Fails when one grew or was answered as nobody expects.
MINUTES ?= 5
CLIENTS ?= 8

soak: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.soak --minutes $(MINUTES) --clients $(CLIENTS) --write docs/benchmarks/soak.md

browser:
	@tests/browser/install

# Installing: from the locks, their hashes checked, by uv when there is one and by pip when not.

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info[:2] < (3, 13) else "Python 3.11 or 3.12 is needed; say which with make PYTHON=...")'
	@if [ -n "$(UV)" ]; then $(UV) venv --quiet --seed --python $(PYTHON) $(VENV); else $(PYTHON) -m venv $(VENV); fi

INSTALL = $(if $(UV),$(UV) pip install --quiet --python $(PY),$(PY) -m pip install --quiet --disable-pip-version-check)

$(VENV)/.installed: requirements/run.txt | $(VENV)/bin/python
	@echo "Installing the service into $(VENV)."
	@$(INSTALL) --require-hashes -r requirements/run.txt
	@touch $@

$(VENV)/.installed-dev: requirements/dev.txt | $(VENV)/bin/python
	@echo "Installing the service and its tests into $(VENV)."
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@ $(VENV)/.installed

# PyTorch stands beside the lock: what PyPI has for Linux brings 4.5 GB of CUDA along. pip takes a build for processors
# alone where it is told of one (PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL). Everything else is the service's own.
$(VENV)-torch/.installed: pyproject.toml | $(VENV)/.installed-dev
	@echo "Installing PyTorch into $(VENV)-torch, for tests/torch."
	@$(PY) -m venv $(VENV)-torch
	@$(PY) -c 'import site; print(site.getsitepackages()[0])' > $$($(VENV)-torch/bin/python -c 'import site; print(site.getsitepackages()[0])')/service.pth
	@$(VENV)-torch/bin/python -m pip install --quiet --disable-pip-version-check --ignore-installed $$(sed -nE 's/^torch = \["([^"]+)"\].*/\1/p' pyproject.toml)
	@touch $@

# Checking: one target a step, so that each runs by itself. No server is needed and nothing is left behind.
# Settings are those of a production that does not exist, and nothing else of the environment reaches them.

CHECKS = check-code check-format check-types check-imports check-migrations check-deployment \
	check-openapi check-configuration check-locks check-containers
.PHONY: $(CHECKS)

PRODUCTION = env -i PATH="$$PATH" HOME="$$HOME" LANG=C.UTF-8 \
	ENVIRONMENT=production \
	SECRET_KEY=Yk3vTq8mXw2nRf7sLd5gHj9bZc4pKx6eUa1iOo0tQyWvErYk3vTq8mXw2nRf7sLd \
	ALLOWED_HOSTS=hub.example.org \
	CSRF_TRUSTED_ORIGINS=https://hub.example.org \
	DATABASE_URL=postgresql://omarino:password@127.0.0.1:1/omarino \
	REDIS_HOST=127.0.0.1 REDIS_PORT=1 REDIS_PASSWORD=password \
	CELERY_BROKER_URL=redis://:password@127.0.0.1:1/1 \
	MINIO_ENDPOINT_URL=https://s3.example.org MINIO_ACCESS_KEY=key MINIO_SECRET_KEY=secret \
	KEYCLOAK_URL=https://id.example.org KEYCLOAK_CLIENT_SECRET=secret
MANAGE = $(PRODUCTION) $(PY) manage.py

check: $(VENV)/.installed-dev
	@$(MAKE) --keep-going $(CHECKS)
	@echo "All checks passed."

$(CHECKS): $(VENV)/.installed-dev

check-code:
	@echo "== code: ruff"
	@$(VENV)/bin/ruff check --quiet .

check-format:
	@echo "== format: ruff"
	@$(VENV)/bin/ruff format --quiet --check . || { echo "Run: $(VENV)/bin/ruff format ."; exit 1; }

check-types:
	@echo "== types: mypy"
	@$(PRODUCTION) $(VENV)/bin/mypy .

check-imports:
	@echo "== imports: who may import whom"
	@for app in */apps.py; do grep -q "^root_packages = .*\"$${app%/*}\"" pyproject.toml \
		|| { echo "pyproject.toml: add $${app%/*} to importlinter's root_packages."; exit 1; }; done
	@$(VENV)/bin/lint-imports --no-cache --no-logo

check-migrations:
	@echo "== migrations: none is missing"
	@$(PRODUCTION) $(PY) -W "ignore:Got an error checking a consistent migration history" manage.py makemigrations --check --dry-run

check-deployment:
	@echo "== deployment: production settings"
	@$(MANAGE) check --deploy --fail-level WARNING

check-openapi:
	@echo "== openapi: docs/api/openapi.yml is the code's"
	@set -o pipefail; $(MANAGE) spectacular --validate --fail-on-warn | diff -u docs/api/openapi.yml - || { echo "Run: make openapi"; exit 1; }

check-configuration:
	@echo "== configuration: docs/configuration.md and .env.example are the code's"
	@set -o pipefail; $(MANAGE) describe_settings | diff -u docs/configuration.md - || { echo "Run: make configuration"; exit 1; }
	@diff -u <(sed -nE 's/^(# )?([A-Z][A-Z0-9_]*)=.*/\2/p' .env.example) <($(MANAGE) describe_settings --names) || { echo "Edit .env.example."; exit 1; }

check-locks:
	@echo "== locks: made from pyproject.toml"
	@$(PY) requirements/locks.py

check-containers:
	@echo "== containers: Dockerfile and docker-compose.yml"
	@$(VENV)/bin/hadolint Dockerfile
	@$(VENV)/bin/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker-compose.yml
	@diff -u <(sed -nE 's/^(# )?([A-Z][A-Z0-9_]*)=.*/\2/p' docker/.env.example | sort) <(grep -oE '\$$\{[A-Z0-9_]+' docker-compose.yml | tr -d '$${' | sort -u) || { echo "Edit docker/.env.example."; exit 1; }

# Written by tools from the code; `make check` refuses when they differ.

openapi: $(VENV)/.installed-dev
	@$(MANAGE) spectacular --validate --fail-on-warn --file docs/api/openapi.yml

configuration: $(VENV)/.installed-dev
	@$(MANAGE) describe_settings > docs/configuration.md

COMPILE = $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --no-strip-extras --generate-hashes --no-emit-index-url --no-annotate --no-header

lock: $(VENV)/.installed-dev
	@$(COMPILE) pyproject.toml -o requirements/production.txt
	@$(COMPILE) pyproject.toml --extra otel -c requirements/production.txt -o requirements/otel.txt
	@$(COMPILE) pyproject.toml --extra embedded -c requirements/production.txt -o requirements/run.txt
	@$(COMPILE) pyproject.toml --extra embedded --extra xgboost --extra onnx --extra keras --extra otel --extra test --extra dev -c requirements/run.txt -o requirements/dev.txt
	@$(COMPILE) requirements/bench.in -o requirements/bench.txt
	@$(PY) requirements/locks.py stamp

# Benchmarks: minutes each; benchmarks/README.md says what they measure.

bench: bench-forecast bench-stack bench-ingest bench-features bench-anomaly bench-serving bench-audit bench-observing bench-request bench-explain bench-drift

bench-forecast: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.forecast --write docs/benchmarks/forecast.md

bench-stack: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.stack --write docs/benchmarks/stack.md

bench-ingest: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.ingest --write docs/benchmarks/ingest.md

bench-features: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.features_export --write docs/benchmarks/features-export.md
	@$(PY) -m benchmarks.features_online --write docs/benchmarks/features-online.md

bench-anomaly: $(VENV)/.installed-dev
	@OMP_NUM_THREADS=1 $(PY) -m benchmarks.anomaly --write docs/benchmarks/anomaly.md
	@$(PY) -m benchmarks.anomaly_latency --write docs/benchmarks/anomaly.md

bench-serving: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.serving --write docs/benchmarks/serving.md

bench-observing: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.observing --write docs/benchmarks/observing.md

bench-request: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.request --write docs/benchmarks/request.md

bench-audit: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.audit --write docs/benchmarks/audit.md

bench-explain: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.explain --write docs/benchmarks/explain.md

bench-drift: $(VENV)/.installed-dev
	@$(PY) -m benchmarks.drift --write docs/benchmarks/drift.md

clean:
	@rm -rf $(VENV) $(VENV)-torch .venv-bench .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis staticfiles
