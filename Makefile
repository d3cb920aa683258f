# make serve   set up what serving needs, start the server and the UI on 127.0.0.1:8000
# make test    set up everything, then lint, types and tests
# make figures rebuild docs/results from the trained models (long; see recipes/espeak/README.md)

VENV := .venv
BIN := $(VENV)/bin
HOST ?= 127.0.0.1
PORT ?= 8000
SERVE_FLAGS ?=
PYTEST_FLAGS ?= -n 2 --dist worksteal
PYTHON ?= $(shell for p in python3.12 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null && { echo $$p; break; }; done)
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python --constraints constraints.txt

# One thread a process: two test workers share the cores instead of fighting for them.
test: export OMP_NUM_THREADS = 1

.PHONY: serve test lint types pytest debian figures clean

serve: $(VENV)/.serve
	$(BIN)/ssvd serve --host $(HOST) --port $(PORT) $(SERVE_FLAGS)

test: debian lint types pytest

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	$(BIN)/mypy

pytest: $(VENV)/.test
	$(BIN)/pytest $(PYTEST_FLAGS)

# The only step that wants root; without it the tests that need these are skipped by name.
debian:
	@missing=$$(for p in $$(cat debian-packages.txt); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	else echo "skipped (needs root and apt): apt-get install" $$missing; fi

figures: $(VENV)/.test
	$(BIN)/python -m recipes.espeak.rebuild

$(BIN)/uv:
	@test -n "$(PYTHON)" || { echo "Python 3.12 not found: install it, or make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv

$(VENV)/.serve: pyproject.toml constraints.txt | $(BIN)/uv
	$(INSTALL) --editable '.[serve,ui,train]'
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/uv
	$(INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.serve

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
