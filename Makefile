# Everything a person runs, from a clean clone with nothing but `make` and a Python.
#
#   make demo [ONCE=1] [JSON=1]   machines fail and Millwright notices
#   make up                       the platform, until Ctrl-C
#   make run ARGS='doctor'        the command line
#   make bench-ingest [ARGS=…]    the ingestion side by side with its rivals, 15 minutes
#   make bench-serve [ARGS=…]     predictions side by side with the usual ways to serve them
#   make check | test | coverage | nightly | bench | lock

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTHON_VERSION := $(shell cat .python-version)
# uv of the machine, else one of our own.
UV = $(or $(shell command -v uv 2>/dev/null),$(abspath .tools/bin/uv))
# Compiled modules: Ray starts a dozen processes, and each would compile its imports anew.
export UV_COMPILE_BYTECODE := 1
export VIRTUAL_ENV := $(abspath $(VENV))
export PATH := $(abspath $(BIN)):$(PATH)
export RAY_ENABLE_UV_RUN_RUNTIME_ENV := 0
unexport PYTHONDONTWRITEBYTECODE
PACKAGES := domain observability storage ingestion tuning ray_app

.PHONY: help demo up run check test coverage nightly bench bench-ingest bench-serve lock jars clean

help:
	@sed -n 's/^#   //p' Makefile

# pip installs uv into a folder of its own; where that Python has no pip, `venv` brings one.
.tools/bin/uv:
	@python3 -m venv .tools
	.tools/bin/python -m pip install --quiet --disable-pip-version-check uv

$(READY): requirements.lock pyproject.toml .python-version
	@[ -x "$(UV)" ] || $(MAKE) .tools/bin/uv
	[ -x $(BIN)/python ] || "$(UV)" venv --quiet --python $(PYTHON_VERSION) $(VENV)
	"$(UV)" pip sync --quiet --require-hashes requirements.lock
	"$(UV)" pip install --quiet --no-deps --editable .
	touch $@

demo: $(READY)
	@exec millwright demo $(if $(ONCE),--once) $(if $(JSON),--json)

up: $(READY)
	@exec millwright up

run: $(READY)
	@exec millwright $(ARGS)

check: $(READY)
	@ruff format --check --quiet .
	ruff check --quiet .
	mypy
	lint-imports
	$(MAKE) check-lock

# A lock is fresh when resolving again, with its own versions preferred, changes nothing.
LOCK = pip compile --quiet --universal --python-version $(PYTHON_VERSION) --generate-hashes \
	--no-header --no-annotate --extra dev pyproject.toml
.PHONY: check-lock
check-lock:
	@[ -x "$(UV)" ] || $(MAKE) .tools/bin/uv
	fresh=$$(mktemp)
	trap 'rm -f "$$fresh"' EXIT
	cp requirements.lock "$$fresh"
	"$(UV)" $(LOCK) --output-file "$$fresh"
	cmp --silent requirements.lock "$$fresh" || { \
		echo 'requirements.lock does not fit pyproject.toml: run `make lock`' >&2; exit 1; }

# What touches nothing outside may use every core. Tests of services have services of their own in
# each process, a file after the other; what kills and measures whole platforms takes its turn alone.
test: $(READY)
ifdef ARGS
	@pytest -m "not nightly" $(ARGS)
else
	@pytest -m "not nightly" --numprocesses logical tests/unit
	pytest -m "not nightly" --numprocesses logical --maxprocesses 4 --dist loadfile tests/integration
	pytest -m "not nightly" --ignore tests/unit --ignore tests/integration
endif

# Lines and branches of the room that nothing may touch from outside.
coverage: $(READY)
	@pytest tests/unit --cov=domain --cov-branch --cov-report=term:skip-covered --cov-fail-under=95

nightly: $(READY)
	@MILLWRIGHT_TEST_PROFILE=nightly pytest $(ARGS)

bench: $(READY)
	@for script in benchmarks/*.py; do echo "== $$script"; python "$$script" $(ARGS); done
	$(MAKE) bench-ingest
	$(MAKE) bench-serve

# Its last line is one JSON object; rivals are fetched at their first run.
bench-ingest: $(READY)
	@python -m benchmarks.intake $(ARGS)

bench-serve: $(READY)
	@python -m benchmarks.serving $(ARGS)

lock: jars
	@[ -x "$(UV)" ] || $(MAKE) .tools/bin/uv
	"$(UV)" $(LOCK) --upgrade --output-file requirements.lock

# The broker's jars, resolved anew for the version named in kafka_jars.py.
jars: $(READY)
	@python -m ray_app.embedded.kafka_jars

clean:
	rm -rf $(VENV) .tools .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
