# Everything sets itself up: the first target that needs it creates .venv from requirements.lock.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SHARED := -n auto --dist loadfile # a process a core; tests of one file stay together

.PHONY: demo test test-slow check bench lab dashboards lock format clean help

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): requirements.lock pyproject.toml
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer with venv is needed (Debian: apt install python3 python3-venv)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

demo: $(READY) ## the main job: events, an experiment, a signed bundle and its verdict, and what tampering does
	@[ -f .workbench/keys/store.json ] || $(BIN)/workbench keys init --demo
	@$(BIN)/workbench events generate --seed 42 --scale 100
	@$(BIN)/workbench run experiments/risk-baseline.yaml
	@echo "report: $$($(BIN)/workbench report latest)"
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh share/demo/verify.sh

test: $(READY) ## the tests
	$(BIN)/python -m pytest $(SHARED) -m "not slow and not docs and not notebooks"

test-slow: $(READY) ## the slow suites: faults, browser, notebooks at reduced size
	$(BIN)/python -m pytest $(SHARED) -m "slow or notebooks"

check: $(READY) ## lint, format, types, notebooks without outputs, docs under test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tests/check_notebooks.py notebooks
	$(BIN)/python -m pytest -m docs

bench: $(READY) ## the benchmarks behind every speed claim, with the libraries they compare with
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r benchmarks/requirements.lock
	$(BIN)/python -m benchmarks

lab: $(READY) ## JupyterLab on the project
	JUPYTER_CONFIG_DIR=$(CURDIR)/config/jupyter $(BIN)/jupyter lab --ServerApp.root_dir=. $(if $(filter 0,$(shell id -u)),--allow-root) --LabApp.default_url=/lab/tree/notebooks/experiments

dashboards: $(READY) ## every run with its claims and values, for people with a key
	$(BIN)/workbench dashboard results

lock: $(READY) ## renew requirements.lock from pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra metrics --extra redis --universal --python-version 3.11 --upgrade --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --quiet --output-file requirements.lock

format: $(READY) ## put the code in house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove .venv, caches and everything generated (datasets, runs, reports, the ledger and its keys)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf .workbench
	find data reports -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +
