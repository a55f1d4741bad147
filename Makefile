# `make` alone lists the targets, from the comments behind them.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.set-up
export COMPOSE_FILE ?= deploy/compose.yaml

.DEFAULT_GOAL := help
.PHONY: help setup run up down logs test test-containers faults soak backlog \
	bench bench-large bench-check bench-baseline check format lock clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 24

setup: $(STAMP) ## Make .venv with everything in it; needs Python 3.11+ (PYTHON=...) and nothing else

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
		{ echo "This Python makes no virtual environments: install its venv package, or name another with PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: setup ## Run everything on this machine: Kafka, PostgreSQL, gateway, worker, reader
	$(BIN)/quizstream dev

up: ## Run everything in containers on this machine (needs Docker with compose); API on 127.0.0.1:8080
	deploy/compose/make-secrets
	docker compose up --build --detach --wait

down: ## Stop the containers; their data stays (with VOLUMES=--volumes it goes too)
	docker compose down $(VOLUMES)

logs: ## Follow the logs of the containers
	docker compose logs --follow --tail 50

test: check ## Run all that gates a change: format, lint, types, import rules, tests
	$(BIN)/pytest

test-containers: setup ## Run the integration and acceptance tests on testcontainers (needs Docker)
	QUIZSTREAM_TEST_ENGINES=containers $(BIN)/pytest tests/integration tests/acceptance \
		--ignore tests/integration/test_local_engines.py

faults: setup ## Break everything that can break, and write what was shown into tests/faults/README.md
	QUIZSTREAM_FAULTS_REPORT=1 $(BIN)/pytest tests/faults -m "faults or not faults"

soak: setup ## Break things by chance, and see memory stay flat: MINUTES=30, SEED=n to repeat a schedule
	QUIZSTREAM_FAULTS_REPORT=1 QUIZSTREAM_SOAK_MINUTES=$(or $(MINUTES),30) QUIZSTREAM_FAULTS_SEED=$(SEED) \
		$(BIN)/pytest tests/faults/test_long_runs.py -m faults -k flat

backlog: setup ## Have a backlog drained while students go on: EVENTS=1000000
	QUIZSTREAM_FAULTS_REPORT=1 QUIZSTREAM_BACKLOG_EVENTS=$(EVENTS) \
		$(BIN)/pytest tests/faults/test_long_runs.py -m faults -k backlog

BENCH = $(BIN)/python -m tests.benchmarks $(addprefix --only ,$(ONLY)) $(if $(REPEAT),--repeat $(REPEAT)) \
	$(if $(OUT),--out $(OUT)) $(if $(MATCH),--match '$(MATCH)')

bench: setup ## Measure against baselines: ONLY=gateway, MATCH='5 events', REPEAT=5, OUT=directory, PUBLISH=1
	$(BENCH) $(if $(PUBLISH),--publish)

bench-large: setup ## Measure once with 50 million rows; says first what that takes: ROWS=2000000, YES=1, REPEAT=1, OUT=directory
	$(BIN)/python -m tests.benchmarks.large $(if $(ROWS),--rows $(ROWS)) $(if $(REPEAT),--repeat $(REPEAT)) \
		$(if $(OUT),--out $(OUT)) $(if $(YES),--yes)

bench-check: setup ## Measure for less time, and fail where a stored ratio got worse
	$(BENCH) --check

bench-baseline: setup ## Store the ratios of a short run for bench-check
	$(BENCH) --quick --write-baseline

check: setup ## Check format, lint, types and import rules only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## Format the code and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

LOCK = env -u PIP_FIND_LINKS -u PIP_INDEX_URL -u PIP_EXTRA_INDEX_URL \
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

lock: setup ## Resolve the Python packages and Kafka's jars anew, into their lock files
	$(LOCK) --all-extras --output-file requirements.lock pyproject.toml
	$(LOCK) --constraints requirements.lock --output-file deploy/requirements.lock pyproject.toml
	echo hatchling | $(LOCK) --constraints requirements.lock --output-file deploy/build-requirements.lock -
	$(BIN)/python -m quizstream.local.jars > kafka_jars.lock.new
	mv kafka_jars.lock.new services/quizstream/local/kafka_jars.lock

clean: ## Remove .venv, the local data and what the tools left
	rm -rf .venv .quizstream .quizstream-bench dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find services tests -name __pycache__ -type d -prune -exec rm -rf {} +
