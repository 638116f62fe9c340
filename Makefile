# Every target sets up .venv by itself when it is missing or older than the lock.
PYTHON ?= python3
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
else
BIN := .venv/bin
endif
RUN := $(BIN)/python

.PHONY: help setup demo dedup train test check format coverage bench lock clean
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cleanshards needs Python 3.11 or newer; try: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv .venv
	$(RUN) -m pip install --disable-pip-version-check --quiet --requirement requirements.lock
	$(RUN) -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $@

setup: .venv/.ready  ## make .venv from requirements.lock

lock:  ## resolve requirements.lock anew, for every platform
	$(PYTHON) -m pip install --quiet uv
	$(PYTHON) -m uv pip compile pyproject.toml --universal --python-version 3.11 --extra dev \
	    --upgrade --no-header --no-annotate --no-emit-index-url --no-emit-find-links -o requirements.lock
