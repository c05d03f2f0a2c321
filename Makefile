# `make demo` and `make test` need Python >= 3.11 and nothing else; both install into .venv on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --prefer-binary -c constraints.txt

.PHONY: help demo test kernels docs torture lint clean

help:
	@echo "make demo   install, then run the whole pipeline on procedural furniture: checkpoints/demo/report.html"
	@echo "make test   install, lint, types, import rules, tests"
	@echo "make docs   install, execute the tutorials and build the documentation: docs/_build/html/index.html"
	@echo "make torture  random wrong calls, flipped bits and kills, for an hour or so"
	@echo "make lint   ruff, mypy, import-linter"
	@echo "make clean  remove .venv, caches and build output (checkpoints stay)"

demo: $(VENV)/.installed
	$(BIN)/latentsdf demo

# Kernels are compiled beside the linters, which use one core; test processes would otherwise compile them twice.
test: $(VENV)/.installed-dev
	$(MAKE) --jobs 2 lint kernels
	$(BIN)/python -m pytest --durations=20

kernels: $(VENV)/.installed-dev
	-@$(BIN)/latentsdf doctor --compile > /dev/null

# Warnings are errors. Tutorials that did not change are not executed again.
docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -q -W --keep-going -b html -d docs/_build/doctrees docs docs/_build/html
	@echo "docs/_build/html/index.html"

torture: $(VENV)/.installed-dev
	LATENTSDF_TORTURE=1000 $(BIN)/python -m pytest $(addprefix tests/integration/test_, public_api.py damaged_files.py \
		damaged_artifacts.py killed_writers.py killed_commands.py shared_use.py) tests/sharing/test_hub.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "latentsdf needs Python >= 3.11; point PYTHON at one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -f $@; \
		echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv"; exit 1; }

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing into $(VENV) (first run only; takes a few minutes)"
	$(PIP) -e '.[cpu]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -e '.[cpu,dask,dev]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) -e '.[cpu,docs]'
	touch $@

clean:
	rm -rf $(VENV) build dist docs/_build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
