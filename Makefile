# `make run` and `make test` are all that a fresh machine needs: git, make and Python 3.11 or newer.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
# Postfix's programs are not on everybody's PATH.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

# PROGRAM:PACKAGE, where the names differ: clients of SMTP and REST for tests/e2e, the reader of docker-compose.yml, and
# the browser of tests/console.
PROGRAMS := swaks msmtp s-nail mutt postfix smtp-source:postfix curl git php:php-cli node:nodejs npm docker-compose chromium gcc \
  faketime fail2ban-regex:fail2ban newuidmap:uidmap
# Values in, values out, and SQLite in a temporary folder: no listener, no program of others (docs/testing.md).
UNIT := $(addprefix tests/,domain mail schema accept egress store \
  test_ambient.py test_architecture.py test_docs.py test_telemetry.py)
# What covers all branches of values and decisions, and nearly all of acceptance, queue and the way out, without a
# process of the relay; the rest runs without that being watched, which takes time.
COVERING := $(addprefix tests/,domain mail schema accept egress service store sandbox test_ambient.py)
COVERED := accept domain mail egress store
FLOOR := $(BIN)/coverage report --precision 2 --skip-covered --show-missing --fail-under
# Half of the time is waiting; yet with more at once tests of time-outs have too little of the machine.
PARALLEL ?= 2
# File by file in their order. Those with few tests last, as xdist has it, are the long ones: all would wait for one.
SIDE_BY_SIDE = -n $(PARALLEL) --dist loadfile --no-loadscope-reorder
# What `make lock` does with versions that are locked already.
UPGRADE ?= --upgrade
INSTALL := apt-get install -y --no-install-recommends
# All that is installed stands in the lock files, with hashes, the build backend too.
PIP := -m pip install --quiet --disable-pip-version-check --no-deps
UV := .venv/tools/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --annotation-style line --custom-compile-command 'make lock'

.PHONY: help run test unit pythons check lint format demo console bench soak programs release lock audit clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1	\2/p' Makefile | expand -t 16

run: .venv/installed ## start the relay with a local sink as its next hop; Ctrl-C stops it
	@exec $(BIN)/python -m relay run --with-sink --show-link

demo: .venv/installed ## one message for each routing rule, and where it left from
	@$(BIN)/python -m relay.testing.demo

test: programs lint ## the whole suite
	$(BIN)/pytest -q $(SIDE_BY_SIDE) $(COVERING) $(COVERED:%=--cov relay/%) --cov-branch --cov-report=
	$(FLOOR) 100 --include 'relay/domain/*,relay/mail/*'
	$(FLOOR) 95 --include 'relay/accept/*'
	$(FLOOR) 95 --include 'relay/egress/*'
	$(FLOOR) 95 --include 'relay/store/*'
	$(BIN)/pytest -q $(SIDE_BY_SIDE) $(addprefix --ignore=,$(COVERING)) tests
	$(BIN)/pytest -q -m alone tests/alone tests/mail tests/schema

unit: .venv/installed-dev ## the folders of tests that are quick: under half a minute
	$(BIN)/pytest -q $(SIDE_BY_SIDE) $(UNIT)

pythons: .venv/installed-dev ## the same, and the table of routing, under a newer Python (docs/testing.md)
	@.ci/newer $(UNIT) tests/service tests/e2e/test_routing.py

check: test ## format, lint, types and tests

lint: .venv/installed-dev ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy relay tests

format: .venv/installed-dev ## put the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

console: programs .venv/installed-dev ## the web console in a real browser; RELAY_PICTURES=FOLDER keeps a picture of each page
	$(BIN)/pytest -q tests/console

bench: programs .venv/installed ## this relay beside Postfix, under the same load
	@$(BIN)/python -m tests.bench

soak: programs .venv/installed-dev ## what takes minutes: a million messages, a hundred kills, 6 GB at once
	$(BIN)/pytest -q -m soak tests/soak

programs: # as root they are installed; otherwise the line that installs them is shown
	@missing=""; \
	for program in $(PROGRAMS); do \
	  command -v $${program%:*} >/dev/null || missing+=" $${program#*:}"; \
	done; \
	[[ -n "$$(find /usr/lib -path '*/sasl2/libplain.so' -print -quit)" ]] || missing+=" libsasl2-modules"; \
	[[ -e /usr/include/stdio.h ]] || missing+=" libc6-dev"; \
	[[ -e "$$(git --exec-path 2>/dev/null)/git-send-email" ]] || missing+=" git-email"; \
	[[ -e /usr/share/php/libphp-phpmailer ]] || missing+=" libphp-phpmailer"; \
	[[ -e /usr/share/nodejs/nodemailer ]] || missing+=" node-nodemailer"; \
	perl -MIO::Socket::SSL -e 1 2>/dev/null || missing+=" libio-socket-ssl-perl"; \
	perl -MMail::Address -e 1 2>/dev/null || missing+=" libmailtools-perl"; \
	perl -MAuthen::SASL -e 1 2>/dev/null || missing+=" libauthen-sasl-perl"; \
	[[ -n "$$(find /usr/share/fonts -name DejaVuSans.ttf -print -quit 2>/dev/null)" ]] || missing+=" fonts-dejavu-core"; \
	if [[ -z "$$missing" ]]; then exit 0; fi; \
	echo "The tests need packages that are not here:$$missing"; \
	if [[ $$(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then \
	  echo "Install them, then run make again:"; \
	  echo "  sudo apt-get update && sudo $(INSTALL)$$missing"; \
	  exit 1; \
	fi; \
	.ci/apt update; \
	.ci/apt $(INSTALL:apt-get%=%) $$missing

release: .venv/installed-dev ## build sdist and wheel, try them in a fresh environment, and tell what is left to do
	@.ci/release $(BIN)/python

lock: .venv/tools/installed ## renew requirements*.lock: the newest versions that pyproject.toml allows; UPGRADE= keeps them
	$(UV) $(UPGRADE) --group build -o requirements.lock pyproject.toml
	$(UV) $(UPGRADE) --group build --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml
	$(UV) $(UPGRADE) --group tools -o requirements-tools.lock

audit: .venv/tools/installed ## known vulnerabilities of what is locked; exit status 3 when that cannot be looked up
	@.ci/audit .venv/tools/bin/pip-audit requirements.lock requirements-dev.lock requirements-tools.lock

clean: ## remove what was built and installed here, but no store
	rm -rf .venv build dist .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed. Is there another one? make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

# Stamps: installed again only when pyproject.toml or a lock changed.
.venv/installed: pyproject.toml requirements.lock | .venv/bin/python
	@echo "installing, about half a minute"
	@$(BIN)/python $(PIP) --require-hashes -r requirements.lock
	@$(BIN)/python $(PIP) --no-build-isolation -e .
	@touch $@

.venv/installed-dev: pyproject.toml requirements-dev.lock | .venv/bin/python
	@echo "installing, about a minute"
	@$(BIN)/python $(PIP) --require-hashes -r requirements-dev.lock
	@$(BIN)/python $(PIP) --no-build-isolation -e .
	@touch $@ .venv/installed

.venv/tools/installed: requirements-tools.lock | .venv/bin/python
	@$(PYTHON) -m venv .venv/tools
	@.venv/tools/bin/python $(PIP) --require-hashes -r requirements-tools.lock
	@touch $@
