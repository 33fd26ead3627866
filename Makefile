# `make` lists the targets. Each one does its own set-up first, and quickly when there is none to do.
.DEFAULT_GOAL := help
.PHONY: help demo man test check compat chaos bench bench-queue bench-monitor bench-load bench-minute bench-scale bench-screen bench-events bench-web soak mixes image venv venv-dev venv-arq venv-bench receivers packages clean
# Benchmarks side by side would measure each other.
.NOTPARALLEL:

# Passed on: make test ARGS='-k retry'; make compat COMPAT=ends (only the oldest and newest Python).
ARGS ?=
COMPAT ?= all
# The cells of make compat to run, by the names in compat/*.txt; all Pythons and all cells if empty.
ONLY ?=
# Tests at a time; many of them wait for clocks and processes, so more than there are processors.
TESTERS ?= 6

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

demo: venv ## Watch a made-up system in bgtop
	@.venv/bin/bgtop demo $(ARGS)

man: venv-dev ## Make the manual page anew, after an option has changed
	@.venv/bin/bgtop man > docs/man/bgtop.1

test: venv-dev packages ## Check, then run all tests; ARGS=... goes to pytest
	@scripts/before-tests
	@TESTERS=$(TESTERS) scripts/all-tests $(ARGS)

check: venv-dev ## Formatting, lint, types, direction of imports
	@.venv/bin/ruff format --check --quiet
	@.venv/bin/ruff check --quiet
	@.venv/bin/mypy src typing_tests
	@.venv/bin/lint-imports

compat: venv-dev venv-arq packages ## Tests on every Python found, then on old releases and servers; ONLY='rq-1.16 redis-6.2'
	@if [ -z "$(ONLY)" ]; then COMPAT=$(COMPAT) TESTERS=$(TESTERS) scripts/compat $(ARGS); fi
	@if [ "$(COMPAT)" = all ]; then TESTERS=$(TESTERS) .venv/bin/python tests/plugins/compat_matrix.py $(ONLY); fi

chaos: venv-dev packages ## 200 kills over 100,000 jobs, then workers stopped for 60 s; ARGS='--jobs N --kills N'
	@.venv/bin/python tests/plugins/chaos.py $(ARGS)
	@STOP_SECONDS=60 .venv/bin/pytest -q tests/bgworker/crash/test_stopped_workers.py

bench: bench-queue bench-monitor bench-load bench-scale bench-minute bench-screen bench-events bench-web ## All benchmarks, against other systems in the same run

bench-queue: venv-bench packages ## How fast bgworker is, beside other queues and alone
	@.venv/bin/python benchmarks/queue_all.py --peers .venvs/bench $(ARGS)

bench-monitor: venv-bench packages ## What watching with bgtop costs
	@.venv/bin/python benchmarks/monitor_cost.py --peers .venvs/bench $(ARGS)

bench-load: venv-bench packages ## What watching costs four systems at work, beside their own monitors
	@.venv/bin/python benchmarks/monitor_load.py --peers .venvs/bench $(ARGS)

bench-minute: venv-dev packages ## That a minute of bgtop holds up nobody in a Redis of a million keys
	@.venv/bin/python benchmarks/one_minute.py $(ARGS)

bench-scale: venv-bench packages ## What a refresh of bgtop costs with 10 to 10,000 queues
	@.venv/bin/python benchmarks/scale.py --peers .venvs/bench $(ARGS)

bench-events: venv-bench packages ## What following 5,000 events a second costs, beside Flower and celery-exporter
	@.venv/bin/python benchmarks/events.py --peers .venvs/bench $(ARGS)

bench-web: venv-bench packages ## What 200 browsers and 50 requests a second cost, beside Flower
	@.venv/bin/python benchmarks/web.py --peers .venvs/bench $(ARGS)

bench-screen: venv-dev packages ## How fast the live screen answers keys, also beside polls, and how little it writes
	@.venv/bin/python benchmarks/screen.py
	@.venv/bin/python benchmarks/screen_keys.py $(ARGS)

soak: venv-dev packages ## An hour of the live view beside busy systems: its memory stays; ARGS='--minutes N'
	@.venv/bin/python benchmarks/soak.py $(ARGS)

mixes: venv-dev receivers ## 10,000 Celery tasks with known ends, read back from StatsD, Bucky and Prometheus
	@.venv/bin/python tests/plugins/known_ends.py $(ARGS)

image: packages ## The container image, built and run as a sidecar by docker or podman
	@scripts/image

venv:
	@scripts/venv .venv

venv-dev:
	@scripts/venv .venv dev

venv-arq: venv-dev
	@scripts/venv .venvs/arq arq

receivers: venv-dev packages
	@scripts/receivers

venv-bench: venv-dev
	@scripts/venv .venvs/bench bench
	@scripts/try-peer .venvs/bench honker
	@scripts/try-peer .venvs/bench celery-exporter

packages:
	@scripts/install-test-packages

clean: ## Remove what was built, downloaded or measured
	rm -rf .venv .venvs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
