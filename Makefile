# `make demo` and `make test` do all of their own set-up; see README.md.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test bench soak setup clean

setup: $(VENV)/.ready

# The environment: made anew when the list of dependencies changes.
$(VENV)/.ready: pyproject.toml
	@tests/setup-venv "$(PYTHON)" "$(VENV)"
	@touch $@

demo: $(VENV)/.ready
	@if [ -t 1 ]; then $(BIN)/edge demo; else $(BIN)/edge demo --headless --for 60s; fi

test: $(VENV)/.ready
	@tests/setup-tools
	@PATH="$(CURDIR)/$(BIN):$$PATH" tests/check

soak: $(VENV)/.ready
	@tests/setup-tools
	@PATH="$(CURDIR)/$(BIN):$$PATH" pytest -m soak -o addopts=""

bench: $(VENV)/.ready
	@tests/setup-tools
	@PATH="$(CURDIR)/$(BIN):$$PATH" python -m bench

clean:
	rm -rf $(VENV) .tools build *.egg-info .mypy_cache .ruff_cache .pytest_cache
