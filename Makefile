# Every target does its own set-up in .venv and says what it does. Python 3.11 or newer is all that a machine needs for `make demo`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo demo-cluster cluster controlplane test faults faults-spread bench bench-trainer lint verify crds format images clean

help: ## Show this help
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: $(VENV)/.installed ## See a schedule train a real model, without Kubernetes (about a minute)
	@$(BIN)/retrain demo

demo-cluster: $(VENV)/.developing ## The same story on a real control plane, told by kubectl
	@$(BIN)/python -m tests.cluster.demo

cluster: $(VENV)/.developing ## Run a local control plane with the CRDs, until Ctrl-C
	@$(BIN)/python -m tests.cluster up --apply crds

controlplane: $(VENV)/.developing ## Build the local control plane (about 6 minutes, once per version)
	@$(BIN)/python -m tests.cluster build

test: $(VENV)/.developing ## Run all tests
	-@$(BIN)/python -m tests.cluster build
	$(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder

faults: $(VENV)/.developing ## Inject every fault into every write and watch, and judge what came of it (two hours; Ctrl-C ends it with its table)
	@$(BIN)/python -m tests.cluster build
	$(BIN)/python -m tests.faults

faults-spread: $(VENV)/.developing ## 600 of these, spread evenly; writes docs/faults.md (about a quarter of an hour)
	@$(BIN)/python -m tests.cluster build
	$(BIN)/python -m tests.faults --cases 600 --write docs/faults.md

bench: $(VENV)/.developing ## Measure speed and memory beside the native CronJob controller; writes docs/benchmarks.md
	@$(BIN)/python -m tests.cluster build
	$(BIN)/python -m tests.bench

bench-trainer: $(VENV)/.developing ## Measure the trainer's time and memory; writes docs/benchmarks-trainer.md (a few minutes)
	$(BIN)/python -m tests.bench.trainer

lint: $(VENV)/.developing ## ruff, mypy strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy operator/retrain_operator trainer_image/retrain_trainer trainer_image/examples tests
	$(BIN)/lint-imports

verify: $(VENV)/.developing ## Check that generated files are current
	$(BIN)/python -m retrain_operator.crdgen crds --check
	$(BIN)/python -m retrain_operator.docgen docs/reference.md --check
	@test ! -e operator/__init__.py || { echo "operator/__init__.py shadows the standard library: remove it"; exit 1; }

crds: $(VENV)/.developing ## Write crds/ and docs/reference.md from the API models
	$(BIN)/python -m retrain_operator.crdgen crds
	$(BIN)/python -m retrain_operator.docgen docs/reference.md

format: $(VENV)/.developing ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

images: ## Build both container images (base image by Debian bootstrap where there is no registry)
	@.ci/build-images

clean: ## Remove everything that was built here; the control plane's cache stays
	rm -rf $(VENV) .demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/.installed: pyproject.toml trainer_image/pyproject.toml constraints.txt
	@echo "Setting up $(VENV): the operator and the trainer with scikit-learn (one or two minutes, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --editable . --editable './trainer_image[recommender]'
	@$(PIP) --no-deps irspack
	@touch $@

$(VENV)/.developing: $(VENV)/.installed
	@echo "Adding the tools for tests and checks to $(VENV) (half a minute, once)"
	@$(PIP) --no-warn-conflicts --editable '.[dev]' # irspack is meant to lack some, see trainer_image/pyproject.toml
	@touch $@
