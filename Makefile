# Every target sets up its own virtual environment (.venv) when it is missing or out of date.

PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3; do \
    $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
INSTALLED := .venv/.installed
BUILD := build
# Two tests at a time, with a thread of torch each: more would wait for one another.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --hypothesis-profile=ci

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint docs bench fuzz sample-models clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# torch goes first and alone: only the pinned version, in the CPU build wherever pip can see one (2.13.0+cpu ranks above
# 2.13.0). Where it cannot, name an index of CPU builds in PIP_EXTRA_INDEX_URL: the default build brings GBs of CUDA.
$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(INSTALLED)  ## Quantize the digits CNN, from ONNX and from TorchScript, and print the reports
	@mkdir -p $(BUILD)/demo
	$(BIN)/compressctl quantize sample_models/cnn.onnx -o $(BUILD)/demo/cnn_int8.onnx \
	    --calibrate digits:train --data digits:test --metric top1 --batch-size 64 --force
	$(BIN)/compressctl quantize sample_models/cnn_scripted.pt --input input:1x1x8x8 \
	    -o $(BUILD)/demo/cnn_scripted_int8.onnx --calibrate digits:train --data digits:test --metric top1 \
	    --batch-size 64 --force

test: lint  ## Lint, then run the tests
	$(PYTEST) -m "not long"

test-all: lint  ## Lint, then run the tests, and those that take long and seldom find anything
	$(PYTEST)

lint: $(INSTALLED)  ## Check style, format, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(INSTALLED)  ## Generate docs/cli.md and docs/recipe.md from the code
	$(BIN)/python -m docs.generate

bench: $(INSTALLED)  ## Compare with onnxruntime's quantizer; BENCH_DATA=DIR adds the real models
	$(BIN)/python -m benchmarks $(if $(BENCH_DATA),--data $(BENCH_DATA))

fuzz: $(INSTALLED)  ## Run commands on damaged files; MINUTES=60, SEED=N, CASE=N for one again
	$(BIN)/python -m fuzz --minutes $(or $(MINUTES),60) $(if $(SEED),--seed $(SEED)) $(if $(CASE),--case $(CASE))

sample-models: $(INSTALLED)  ## Train the sample models again
	PYTHONHASHSEED=0 $(BIN)/python -m sample_models.train
	$(BIN)/python -m sample_models.train_scenes
	$(BIN)/python -m sample_models.train_denoiser

clean:  ## Remove the virtual environment, caches and everything built
	rm -rf .venv $(BUILD) dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
