# Every target sets up .venv by itself when it is missing or older than the lock.
PYTHON ?= python3
DATASET ?= demo
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
else
BIN := .venv/bin
endif
RUN := $(BIN)/python
DATA := $(or $(CLEANSHARDS_DATA),data)

.PHONY: help setup demo faces faces-demo dedup train evidence evidence-demo docs test check format coverage bench lock clean
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{ printf "  make %-13s %s\n", $$1, $$2 }'

.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("cleanshards needs Python 3.11 or newer; try: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(RUN) -m pip install --disable-pip-version-check --quiet --requirement requirements.lock
	$(RUN) -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $@

setup: .venv/.ready  ## make .venv from requirements.lock

demo: .venv/.ready  ## render bedrooms, de-duplicate them, train a small DCGAN on what is clean
	$(RUN) -m pipelines.run download demo
	$(RUN) -m dedup.run demo --truth $(DATA)/demo/raw/bedroom_train_lmdb/truth.csv
	$(RUN) -m train.run demo --preset demo $(if $(wildcard $(DATA)/demo/train/demo/config.toml),--resume auto)

faces: .venv/.ready  ## collect faces from the web and de-duplicate them: make faces CONTACT=you@example.org
	$(RUN) -m facescrape.run faces $(if $(CONTACT),--contact $(CONTACT)) $(FACES)
	$(RUN) -m dedup.run faces
	$(RUN) -m facescrape.run report

faces-demo: .venv/.ready  ## the same on rendered people, served by a replay of the web on this machine
	$(RUN) -m facescrape.run demo
	$(RUN) -m dedup.run faces_demo
	$(RUN) -m facescrape.run report --dataset faces_demo

dedup: .venv/.ready  ## de-duplicate a data set: make dedup DATASET=lsun_bedroom
	$(RUN) -m dedup.run $(DATASET)

train: .venv/.ready  ## train the paper's DCGAN on a clean data set: make train DATASET=lsun_bedroom
	$(RUN) -m train.run $(DATASET)

evidence: .venv/.ready  ## docs/evidence.md: what train.probe, search and explore have found, beside the paper's figures
	$(RUN) -m train.evidence $(DATA)

# The paper's experiments on pictures of which everything is known.
ROOMS = $(DATA)/demo/train/evidence
PORTRAITS = $(DATA)/portraits
SMILING_MEN = smile, not male, not glasses - not smile, not male, not glasses + not smile, male, not glasses
evidence-demo: .venv/.ready  ## the paper's experiments on rendered rooms and faces: about 15 minutes of two cores
	$(RUN) -m pipelines.run download demo
	$(RUN) -m pipelines.run download portraits
	$(RUN) -m dedup.run demo
	$(RUN) -m dedup.run portraits --radius 2
	$(RUN) -m train.run demo --preset demo --epochs 45 --ema-decay 0.999 --name evidence --resume auto
	$(RUN) -m train.run portraits --preset portraits --resume auto
	$(RUN) -m train.explore walk $(ROOMS)
	$(RUN) -m train.explore guided $(ROOMS)
	$(RUN) -m train.explore filters $(ROOMS)
	$(RUN) -m train.explore windows $(DATA)/demo/raw/bedroom_train_lmdb
	$(RUN) -m train.explore forget $(ROOMS) --finder $(DATA)/demo/raw/windows_32px.safetensors
	$(RUN) -m train.explore walk $(PORTRAITS)/train/portraits
	$(RUN) -m train.explore attributes
	$(RUN) -m train.explore attributes --seed 1
	$(RUN) -m train.explore arithmetic $(PORTRAITS)/train/portraits --concepts "$(SMILING_MEN)" \
	    --attributes $(PORTRAITS)/attributes_0.safetensors --judge $(PORTRAITS)/attributes_1.safetensors
	$(RUN) -m train.explore turn $(PORTRAITS)/train/portraits \
	    --attributes $(PORTRAITS)/attributes_0.safetensors --judge $(PORTRAITS)/attributes_1.safetensors
	$(RUN) -m train.probe $(PORTRAITS)/train/portraits --dataset portraits --hold-out 0.3 --side 32 \
	    --baseline random --baseline pixels --baseline kmeans:100
	$(RUN) -m train.search --dataset portraits --hold-out 0.3 --side 32 --labels 400 --trials 4 --width 8 --epochs 16
	$(RUN) -m train.evidence $(DATA)/demo $(PORTRAITS) --out $(DATA)/evidence.md

docs: .venv/.ready  ## build the documentation: site/index.html
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict
	@echo site/index.html

test: .venv/.ready  ## run the tests
	$(RUN) -m pytest --quiet --numprocesses 2 --dist loadfile

check: .venv/.ready  ## format, lint, types, import rules
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(RUN) -m pytest --quiet tests/test_architecture.py

format: .venv/.ready  ## format and fix what can be fixed
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

coverage: .venv/.ready  ## run the tests and show which lines they reach
	$(RUN) -m coverage erase
	$(RUN) -m coverage run -m pytest --quiet
	$(RUN) -m coverage combine --quiet
	$(RUN) -m coverage report

bench: .venv/.ready  ## print the tables of benchmarks/
	$(RUN) -m benchmarks.ingest
	$(RUN) -m benchmarks.scale --sizes 1000000 10000000
	$(RUN) -m benchmarks.query
	$(RUN) -m benchmarks.memory
	$(RUN) -m benchmarks.review

lock: .venv/.ready  ## resolve requirements.lock anew, for every platform
	$(RUN) -m pip install --quiet uv
	$(RUN) -m uv pip compile pyproject.toml --universal --python-version 3.11 --extra dev --upgrade \
	    --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet -o requirements.lock

clean:  ## remove .venv and caches; data stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* htmlcov build site *.egg-info
