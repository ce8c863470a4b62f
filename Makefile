# `make` prints what there is to make. Everything is installed into .venv, with the versions that
# deploy/constraints/ names; a target that has already installed what it needs does not install it again.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

# onnxruntime reports its use to its makers unless it is told not to.
export ORT_DISABLE_TELEMETRY := 1

VENV := .venv
CONSTRAINTS := deploy/constraints
IMAGE ?= interlinear
ARGS ?=

# The first interpreter that can be used, unless the caller says `make PYTHON=...`.
SUPPORTED := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3 python; do \
	"$$python" -c '$(SUPPORTED)' >/dev/null 2>&1 && { echo "$$python"; break; }; done)

pip_install := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: serve
serve: $(VENV)/.serve ## serve on http://127.0.0.1:8000 (ARGS="..." passes options on)
	@exec $(VENV)/bin/interlinear serve $(ARGS)

.PHONY: test
test: $(VENV)/.dev ## run all tests (ARGS="..." passes options on)
	$(VENV)/bin/lint-imports --no-logo
	$(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

.PHONY: lint
lint: $(VENV)/.dev ## check style, formatting, types and import rules
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo

.PHONY: format
format: $(VENV)/.dev ## rewrite the code as `make lint` wants it
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

.PHONY: install-export
install-export: $(VENV)/.export ## install what training and export need

.PHONY: install-gpu
install-gpu: $(VENV)/.gpu ## make .venv a serving environment for NVIDIA GPUs

include model_export/model.mk

.PHONY: bench-engine
bench-engine: $(VENV)/.bench ## measure the engine without HTTP (benchmarks: ARGS="--quick" to try one, see tests/benchmark/README.md)
	@$(VENV)/bin/python -m tests.benchmark.engine $(ARGS)

.PHONY: bench-alternatives
bench-alternatives: $(VENV)/.bench ## measure the engine beside TensorFlow, CTranslate2 and a naive loop
	@$(VENV)/bin/python -m tests.benchmark.alternatives $(ARGS)

.PHONY: bench-http
bench-http: $(VENV)/.bench ## measure the service over HTTP (needs wrk)
	@$(VENV)/bin/python -m tests.benchmark.http_load $(ARGS)

.PHONY: bench-overload
bench-overload: $(VENV)/.bench ## measure the service beyond saturation
	@$(VENV)/bin/python -m tests.benchmark.overload $(ARGS)

.PHONY: bench-memory
bench-memory: $(VENV)/.bench ## measure memory and cold start (needs wrk)
	@$(VENV)/bin/python -m tests.benchmark.memory $(ARGS)

.PHONY: bench-training
bench-training: $(VENV)/.bench ## measure a step of training beside a plain loop over time steps
	@$(VENV)/bin/python -m tests.benchmark.training $(ARGS)

.PHONY: browser
browser: ## install the browser that the page's tests drive (Debian, as root)
	@if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then \
	  echo "chromium and chromedriver are installed"; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  apt-get -o Acquire::Retries=3 update -qq; \
	  DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 install -y -qq --no-install-recommends chromium chromium-driver; \
	else \
	  echo "chromium and chromedriver are missing: install them with this system's package manager"; \
	fi

.PHONY: image
image: ## build the CPU image (IMAGE=... names it, ARGS="..." passes options on)
	docker build --tag $(IMAGE) $(ARGS) .

.PHONY: image-gpu
image-gpu: ## build the GPU image
	docker build --tag $(IMAGE):gpu --build-arg RUNTIME=gpu $(ARGS) .

.PHONY: constraints
constraints: $(VENV)/.created ## resolve deploy/constraints/ anew
	$(pip_install) uv
	@resolve() { $(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --fork-strategy fewest \
	    --no-annotate --custom-compile-command 'make constraints' "$$@"; }; \
	resolve pyproject.toml --output-file $(CONSTRAINTS)/serve.txt; \
	resolve pyproject.toml --all-extras --constraint $(CONSTRAINTS)/serve.txt --output-file $(CONSTRAINTS)/dev.txt; \
	resolve pyproject.toml - --no-emit-package onnxruntime --constraint $(CONSTRAINTS)/serve.txt \
	    --output-file $(CONSTRAINTS)/gpu.txt <<<'onnxruntime-gpu[cuda,cudnn]'

.PHONY: clean
clean: ## remove .venv and every file the tools leave behind
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .schemathesis
	find service model_export tests deploy -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the environment ---------------------------------------------------------------------------------------------

$(VENV)/.created:
	@if [ -z "$(PYTHON)" ]; then echo "Interlinear needs Python 3.11, 3.12 or 3.13 with venv; none was found (make PYTHON=...)" >&2; exit 1; fi
	@"$(PYTHON)" -c '$(SUPPORTED)' || { echo "Interlinear needs Python 3.11, 3.12 or 3.13 with venv; $(PYTHON) is $$("$(PYTHON)" --version 2>/dev/null || echo missing)" >&2; exit 1; }
	"$(PYTHON)" -m venv --clear $(VENV)
	@touch $@

# onnxruntime and onnxruntime-gpu write the same files: an environment for GPUs stays one until `make clean`.
$(VENV)/.serve: pyproject.toml $(CONSTRAINTS)/serve.txt | $(VENV)/.created
	@if [ ! -e $(VENV)/.gpu ]; then echo "installing the service into $(VENV)"; $(pip_install) --constraint $(CONSTRAINTS)/serve.txt --editable .; fi
	@touch $@

$(VENV)/.export: pyproject.toml $(CONSTRAINTS)/dev.txt | $(VENV)/.created
	$(require_cpu_environment)
	@echo "installing the service, training and export into $(VENV)"
	@$(pip_install) --constraint $(CONSTRAINTS)/dev.txt --editable '.[export]'
	@touch $(VENV)/.serve $@

$(VENV)/.dev: pyproject.toml $(CONSTRAINTS)/dev.txt | $(VENV)/.created
	$(require_cpu_environment)
	@echo "installing everything that tests and checks need into $(VENV)"
	@$(pip_install) --constraint $(CONSTRAINTS)/dev.txt --editable '.[dev,export]'
	@touch $(VENV)/.serve $(VENV)/.export $@

$(VENV)/.bench: pyproject.toml $(CONSTRAINTS)/dev.txt | $(VENV)/.created
	$(require_cpu_environment)
	@echo "installing what benchmarks need into $(VENV)"
	@$(pip_install) --constraint $(CONSTRAINTS)/dev.txt --editable '.[export,benchmark]'
	@touch $(VENV)/.serve $(VENV)/.export $@

$(VENV)/.gpu: pyproject.toml $(CONSTRAINTS)/gpu.txt | $(VENV)/.created
	@echo "installing the service for NVIDIA GPUs into $(VENV)"
	@$(VENV)/bin/python -m pip uninstall --quiet --yes onnxruntime
	@$(pip_install) --requirement $(CONSTRAINTS)/gpu.txt
	@$(pip_install) --no-deps --editable .
	@touch $(VENV)/.serve $@

define require_cpu_environment
@if [ -e $(VENV)/.gpu ]; then echo "$(VENV) holds onnxruntime-gpu, which excludes onnxruntime: 'make clean' first" >&2; exit 1; fi
endef
