# Every target makes .venv when there is none, and brings it up to date when pyproject.toml or constraints.txt changed.
#
#   make demo    index example photographs, search and classify them, draw a picture (needs no PyTorch)
#   make test    the whole test suite with coverage
#   make lint    ruff, and mypy strict on all three packages
#   make bench   measure this machine beside rclip, open_clip, transformers, usearch and faiss, which get environments of
#                their own, and write docs/benchmarks.md; BENCH="--only vectors" for a part, BENCH=--quick for a trial
#   make docs    write docs/cli.md anew from --help, docs/models.md from docs/models.json
#   make help    this list
#
# PYTHON=python3.12 picks the interpreter; PIP_INDEX_URL, PIP_EXTRA_INDEX_URL and the like work as pip knows them.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 3
PEERS ?= .peers
BENCH ?=
DEMO_FOLDER ?= demo-output

BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: demo test lint bench docs help clean
.DEFAULT_GOAL := demo

demo: $(VENV)/.demo-ready
	$(BIN)/clip demo --output $(DEMO_FOLDER)

test: $(VENV)/.dev-ready
	$(BIN)/python -m pytest --numprocesses $(JOBS) --cov --cov-report=term

lint: $(VENV)/.dev-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy

# What cannot be installed is said and left out of the tables; the next `make bench` tries again.
bench: $(VENV)/.dev-ready
	$(BIN)/python -m benchmarks.environments --rclip $(PEERS) --torch $(PEERS)-torch
	$(BIN)/python -m benchmarks.run --rclip $(PEERS)/bin/python --torch $(PEERS)-torch/bin/python $(BENCH)

docs: $(VENV)/.dev-ready
	$(BIN)/python -m docs.write_cli
	$(BIN)/python -m docs.write_models

help:
	@sed -n 's/^#   //p' Makefile

clean:
	rm -rf $(VENV) $(PEERS) $(PEERS)-torch $(DEMO_FOLDER) .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis

# One environment that grows: what the demo needs is a part of what development needs. An interrupted installation
# leaves no stamp, so the next run goes on with it.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo-ready: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing what the demo needs into $(VENV), once: about 380 MB to download, which may take minutes"
	$(INSTALL) '.[demo]'
	@touch $@

$(VENV)/.dev-ready: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing what development needs into $(VENV), PyTorch included"
	$(INSTALL) '.[dev]'
	@touch $(VENV)/.demo-ready $@
