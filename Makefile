# Burnish: `make demo` shows everything, `make up` starts the stack, `make down` stops it, `make test` proves it.
# What is installed and all state lie in .burnish/; deleting that folder is a fresh start.

SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help demo up down status check test test-campaigns test-labelling test-rest storm tools nginx chromium

VENV := .burnish/venv
LABEL_STUDIO := .burnish/label-studio-venv
DATUMARO := .burnish/datumaro-venv
export PYTHONPATH := .:platform
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The first that is new enough and works.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
    "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null && command -v "$$name" && break; done)
RUN := $(VENV)/bin/python
MANAGE := $(RUN) manage.py

# A stamp is named after what was asked for: changed requirements are installed at the next call, a failed
# installation leaves none. Not compiled: most of these files are never loaded, and the rest is at its first time.
hash = $(shell cat $(1) | sha256sum | cut -c1-12)
OURS := $(VENV)/installed-$(call hash,requirements.txt)
TOOLS := $(VENV)/tools-$(call hash,requirements.txt requirements-dev.txt)
THEIRS := $(LABEL_STUDIO)/installed-$(call hash,requirements-label-studio.txt)
READER := $(DATUMARO)/installed-$(call hash,requirements-datumaro.txt)

help:
	@echo "make demo         the whole loop on generated surfaces (ONCE=1: check the outcome and exit)"
	@echo "make up           start the stack: database, queue, Label Studio, web server, workers"
	@echo "make down         stop it"
	@echo "make status       what runs, addresses and login"
	@echo "make check        format, lint, types, layers, fast tests"
	@echo "make test         every test, on the real services"
	@echo "make storm        kill the services at random, KILLS=300 times, and see that nothing is lost"

demo: up
	@$(MANAGE) demo $(if $(ONCE),--once)

up: nginx
	@$(MAKE) -j2 $(OURS) $(THEIRS)
	@$(MANAGE) up

down status:
	@if test -x $(RUN); then $(MANAGE) $@; else echo "Nothing is running: nothing is installed."; fi

check: tools
	@$(RUN) -m pytest -q -m "not acceptance"

# Folders whose tests, all of them, run beside the others: so the three parts take about as long.
SERVED := tests/annotation tests/config tests/labelling

# Side by side: what runs on the real services waits for them half of the time. The first speaks as it goes on, the
# others at their end.
test: chromium nginx
	@$(MAKE) -j2 $(THEIRS) $(TOOLS) $(READER)
	@$(MAKE) -j3 test-campaigns test-labelling test-rest

test-campaigns:
	@$(RUN) -m pytest -m acceptance tests/acceptance

test-labelling:
	@$(call at_its_end,$(RUN) -m pytest -q $(SERVED))

test-rest:
	@$(MAKE) tools
	@$(call at_its_end,$(RUN) -m pytest -q -m "not acceptance" $(addprefix --ignore=,$(SERVED)))

at_its_end = $(1) > .burnish/$@.log 2>&1; status=$$?; cat .burnish/$@.log; exit $$status

storm: nginx
	@$(MAKE) -j2 $(THEIRS) $(TOOLS)
	@STORM_KILLS=$(or $(KILLS),300) $(RUN) -m pytest -s tests/acceptance/test_storm.py

tools: $(TOOLS)
	@$(VENV)/bin/ruff format --check --quiet .
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/mypy --no-error-summary
	@$(VENV)/bin/lint-imports > .burnish/lint-imports.log || { cat .burnish/lint-imports.log; exit 1; }

# --- virtual environments ---------------------------------------------------------------------------------------------

$(OURS):
	@$(call install,$(VENV),requirements.txt,Burnish's packages)

$(TOOLS):
	@$(call install,$(VENV),requirements-dev.txt,Burnish's packages and tools)
	@touch $(OURS)

$(THEIRS):
	@$(call install,$(LABEL_STUDIO),requirements-label-studio.txt,Label Studio)

$(READER):
	@$(call install,$(DATUMARO),requirements-datumaro.txt,Datumaro)

define install
set -e; \
fail() { printf '%s\n' "$$1" >&2; exit 1; }; \
test -n "$(PYTHON)" || \
    fail "Python: expected 3.11 or newer, found $$(python3 --version 2>&1). Install it, or: make PYTHON=/path/to/python"; \
mkdir -p .burnish; \
test "$$(df -Pk .burnish | awk 'NR==2 {print $$4}')" -gt 4000000 || \
    fail "Disk: expected 4 GB free for the virtual environments in $$PWD/.burnish. Make room."; \
if ! test -x $(1)/bin/pip; then \
    "$(PYTHON)" -m venv --clear $(1) > $(1).log 2>&1 || { cat $(1).log >&2; rm -rf $(1); \
        fail "Python's venv module does not work. Debian: apt install python3-venv"; }; \
fi; \
echo "Installing $(3) into $(1) (a minute or two)"; \
rm -f $(1)/installed-* $(1)/tools-*; \
$(1)/bin/pip install --no-compile --requirement $(2) > $(1).log 2>&1 || { grep -v "^WARNING" $(1).log | tail -n 15 >&2; \
    fail "Installing $(3) failed; the lines above and $(1).log say why. A package without a wheel for this \
machine needs a C compiler (Debian: apt install build-essential)."; }; \
touch $@
endef

# --- programs of the system -------------------------------------------------------------------------------------------

APT := $(if $(filter 0,$(shell id -u)),$(shell command -v apt-get))
found = $(shell PATH="$$PATH:/usr/sbin:/usr/local/sbin" command -v $(1))

# Without it the stack runs unfiltered, and the home page says so. Its own service, on port 80, is not wanted.
nginx:
ifeq ($(call found,nginx),)
ifneq ($(APT),)
	@$(call apt,nginx-light) || echo "nginx could not be installed: people will reach Label Studio without a filter." >&2
	@systemctl disable --quiet nginx 2> /dev/null || true
endif
endif

chromium:
ifeq ($(call found,chromium),)
	@test -n "$(APT)" || { echo "The browser tests need Chromium. Install it (Debian: apt install chromium)." >&2; exit 1; }
	@$(call apt,chromium) || { echo "Chromium could not be installed; the lines above say why." >&2; exit 1; }
endif

# A policy-rc.d that says no keeps apt from starting services it installs.
define apt
( echo "Installing $(1)"; \
policy=/usr/sbin/policy-rc.d; \
if ! test -e $$policy; then printf '#!/bin/sh\nexit 101\n' > $$policy; chmod +x $$policy; trap 'rm -f '$$policy EXIT; fi; \
mkdir -p .burnish; export DEBIAN_FRONTEND=noninteractive; \
{ apt-get update && apt-get install --yes --no-install-recommends $(1); } > .burnish/apt.log 2>&1 || \
    { tail -n 5 .burnish/apt.log >&2; exit 1; } )
endef
