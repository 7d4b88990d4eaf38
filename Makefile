# `make` alone lists the targets. Everything runs in .venv, which each target sets up when it is
# missing or its locks changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Two share a machine of two cores well: most tests wait for a process that they started.
WORKERS ?= 2

DEMO ?= build/demo
DEMO_PARAMETERS ?= examples/demo.yaml

# The one place that pins uv is the lock.
UV_PIN = $$(sed -n 's/^\(uv==[^ ]*\).*/\1/p' requirements/dev.txt)

.DEFAULT_GOAL := help
.PHONY: help setup demo test check fix compile docs servers images test-images

help: ## List the targets.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(READY) ## Make .venv: every extra and tool, from the lock.

$(READY): requirements/dev.txt requirements/build.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"setup: yololine needs Python 3.11 or newer, {sys.executable} is {sys.version.split()[0]}; use make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(UV_PIN)"
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode \
		--build-constraints requirements/build.txt requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) $(DEMO)/source ## Run the whole line on a small made-up dataset, no cluster needed.
	$(BIN)/yololine run training --parameters $(DEMO_PARAMETERS) \
		--source-uri $(DEMO)/source --store-uri $(DEMO)/store

# Made under another name first, so that an interrupted run leaves nothing that looks finished.
$(DEMO)/source: | $(READY)
	rm -rf $@.partial
	mkdir -p $(@D)
	$(BIN)/yololine sample $@.partial
	mv $@.partial $@

test: $(READY) ## Run the tests, against real servers where Go can build them.
	@$(BIN)/python scripts/packages.py || test "$(CI)" != true
	@$(BIN)/python scripts/servers.py || test "$(CI)" != true
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile \
		--no-loadscope-reorder $(TESTS)

check: $(READY) ## Say what is wrong: style, types, imports, and everything generated.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pipelines.compile --check
	$(BIN)/python -m components.catalogue --check
	$(BIN)/python -m scripts.parameters --check
	$(BIN)/python scripts/check_manifests.py
	$(BIN)/python scripts/check_containers.py
	$(BIN)/python scripts/locks.py
	@$(MAKE) --no-print-directory docs

fix: $(READY) ## Repair what a program can repair.
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/python -m pipelines.compile
	$(BIN)/python -m components.catalogue
	$(BIN)/python -m scripts.parameters
	$(BIN)/python scripts/locks.py --fix

compile: $(READY) ## Compile the pipelines and the components.
	$(BIN)/python -m pipelines.compile

docs: $(READY) ## Build the pages of docs/ as a site, in build/docs.
	$(BIN)/sphinx-build --quiet --nitpicky --fail-on-warning --keep-going \
		--doctree-dir build/doctrees docs build/docs

servers: $(READY) ## Build the servers the tests talk to, once, into a cache.
	$(BIN)/python scripts/servers.py

# REGISTRY, TAG, IMAGES (of data, train, platform, predictor), BASE_IMAGE and BUILDER (docker, podman, buildah)
# have defaults; JSON names a file for what the tables say, SOURCE is for the images' label.
images: $(READY) ## Build the container images: make images REGISTRY=... TAG=... IMAGES="data train"
	$(BIN)/python -m scripts.images $(strip $(IMAGES) $(if $(REGISTRY),--registry "$(REGISTRY)") \
		$(if $(TAG),--tag "$(TAG)") $(if $(BASE_IMAGE),--base-image "$(BASE_IMAGE)") \
		$(if $(BUILDER),--builder "$(BUILDER)") $(if $(SOURCE),--source "$(SOURCE)") \
		$(if $(JSON),--json "$(JSON)"))

test-images: $(READY) ## Build every image and run the whole line in them: gigabytes, minutes.
	@$(BIN)/python scripts/packages.py || test "$(CI)" != true
	@$(BIN)/python scripts/servers.py || test "$(CI)" != true
	YOLOLINE_TEST_TRAIN_IMAGE=1 $(BIN)/python -m pytest tests/containers
