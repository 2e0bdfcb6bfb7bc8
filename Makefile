# Every command sets up what it needs, inside the checkout and without root.
# `make PYTHON=python3.11 VENV=.venv-3.11 LOCALSTACK_VENV=.localstack-3.11 test` has environments of its own.

PYTHON ?= $(or $(shell devtools/find-pythons | head -n 1),python3)
VENV ?= .venv
LOCALSTACK_VENV ?= .localstack
PYTEST_ARGS ?=
# Empty, no lines are counted: quicker, on Python 3.11 by far.
COVERAGE ?= --cov --cov-report=term
# Each process has a LocalStack of its own; -n0 in PYTEST_ARGS is one process. One more than CI's machine has cores:
# a test with real workers waits for a tenth of its time.
TEST_PROCESSES ?= 3
export LOCALSTACK_VENV
# Kept, whatever the caller's habit: without it each program of a run compiles all that it imports, anew.
unexport PYTHONDONTWRITEBYTECODE

bin := $(VENV)/bin
installed := $(VENV)/.installed
localstack := $(LOCALSTACK_VENV)/.installed
peers := .bench-venv/.installed
# A file's tests stay together, for what they share; the files go in order, for the slow ones come first.
pytest := $(bin)/python -m pytest -m "not chaos" -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder
# In one line what the installation would say in a page.
new_enough = $(if $(shell $(PYTHON) -c 'import sys; print("yes" * (sys.version_info >= (3, 11)))' 2>/dev/null),,$(error \
	Python 3.11 or later is needed, and $(PYTHON) is $(or $(shell $(PYTHON) --version 2>/dev/null),not there): \
	install one, or name it with `make PYTHON=/path/to/python3.11 …`))
compile := $(abspath $(bin))/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --allow-unsafe

.DEFAULT_GOAL := help
.PHONY: help install test check unit demo stack lint format docs lock chaos bench clean .localstack .bench-venv

help: ## this list
	@grep -hE '^[a-z.]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

test: lint docs check ## lint, types, imports, the site and all tests

check: $(installed) $(localstack) ## all tests with coverage, without lint
	$(pytest) $(COVERAGE) $(PYTEST_ARGS)

unit: $(installed) ## the tests that need no server
	$(pytest) tests/unit tests/properties $(PYTEST_ARGS)

demo: $(installed) $(localstack) ## an archive end to end, on this machine
	@$(bin)/python -m devtools.demo

stack: $(installed) $(localstack) ## LocalStack, a worker and Flower on this machine, until Ctrl-C
	@$(bin)/python -m devtools.playground

lint: $(installed) ## ruff, mypy --strict, import-linter
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports

format: $(installed) ## let ruff format and fix
	$(bin)/ruff format .
	$(bin)/ruff check --fix .

docs: $(installed) ## the site of docs/, strictly, into build/docs
	@rm -rf build/docs
	@$(bin)/python -m devtools.site

chaos: $(installed) $(localstack) ## the long tests: faults, kills, load
	$(bin)/python -m pytest -m chaos $(PYTEST_ARGS)

bench: $(installed) $(localstack) $(peers) ## this engine beside its peers
	$(bin)/python -m benchmarks $(BENCH_ARGS)

install: $(installed) $(localstack) ## the environments that the commands above use

lock: $(installed) ## compile requirements/*.in anew
	cd requirements && for name in uv build worker flower dev audit; do $(compile) $$name.in -o $$name.txt || exit 1; done
	cd requirements && $(compile) localstack.in -o localstack.txt \
		--override localstack.overrides --exclude-newer 2026-03-05

clean: ## remove the environments and all that tools leave
	rm -rf $(VENV) $(LOCALSTACK_VENV) .bench-venv .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache .coverage* htmlcov build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(installed): requirements/dev.txt requirements/uv.txt setup.cfg
	$(new_enough)$(PYTHON) -m devtools.install $(VENV) requirements/dev.txt --project
	@touch $@

.localstack: $(localstack)

$(localstack): requirements/localstack.txt requirements/uv.txt
	$(new_enough)$(PYTHON) -m devtools.install $(LOCALSTACK_VENV) requirements/localstack.txt
	@touch $@

.bench-venv: $(peers)

$(peers): benchmarks/requirements.txt requirements/uv.txt
	$(new_enough)$(PYTHON) -m devtools.install .bench-venv benchmarks/requirements.txt
	@touch $@
