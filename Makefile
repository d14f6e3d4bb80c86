# `make` or `make help` lists what there is. Everything that is made lies in .venv/ and .build/ of this folder.
.DEFAULT_GOAL := help
.PHONY: help setup demo test e2e e2e-smoke e2e-kubernetes bench examples accelerators lint lock clean
SHELL := /bin/bash
PROJECT := {{cookiecutter.project_slug}}
UV := ./$(PROJECT)/local/uv.sh
PY := .venv/bin/python
DEMO := .build/sky-train-pipeline
FLAVOURS := prefect
CATALOG ?= $(HOME)/.sky/catalogs/v8/common/accelerators.csv
export PATH := $(CURDIR)/.uv/bin:$(PATH)
export PYTHONDONTWRITEBYTECODE := 1

help:  ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile

setup: .venv/.ready  ## install exactly what the generated project locks into .venv/

.venv/.ready: $(PROJECT)/requirements-dev.prefect.txt
	@test -x $(PY) || { interpreter=$$("$(UV)" --python) && "$(UV)" venv -q --clear --python "$$interpreter" .venv; }
	@"$(UV)" pip sync -q --compile-bytecode --python $(PY) --require-hashes "$<" || \
	  { echo "error: packages could not be installed, for the reason above; without a network nothing new can be" >&2; exit 1; }
	@touch $@

demo: setup  ## bake the default project and run its pipeline for real on a local SkyPilot
	@$(PY) bake.py $(DEMO) >/dev/null
	@$(MAKE) --no-print-directory -C $(DEMO) demo

test: setup  ## the fast tests: the template's, then those of a project baked from it
	@$(PY) -m pytest -q
	@$(PY) bake.py .build/fast/sky-train-pipeline >/dev/null
	@cd .build/fast/sky-train-pipeline && ../../../$(PY) -m pytest -q -n auto --dist loadfile --no-loadscope-reorder

e2e: setup  ## every flavour on the local SkyPilot, faults included, and the examples copied out of here
	@$(PY) bake.py $(DEMO) >/dev/null
	@$(MAKE) --no-print-directory -C $(DEMO) e2e ARGS='$(ARGS)'
	@$(PY) -m pytest -q -m e2e

e2e-smoke: setup  ## the pipeline, a failing job, a kill -9 and a cancel, per flavour
	@$(PY) bake.py $(DEMO) >/dev/null
	@$(MAKE) --no-print-directory -C $(DEMO) e2e ARGS='-m smoke $(ARGS)'

e2e-kubernetes: setup  ## the default project on the Kubernetes that kubeconfig names
	@$(PY) bake.py $(DEMO) >/dev/null
	@$(MAKE) --no-print-directory -C $(DEMO) e2e ARGS='-m kubernetes $(ARGS)'

bench: setup  ## ratios against the bare sky command line and the guide's own code
	@$(PY) bake.py $(DEMO) >/dev/null
	@$(PY) bench/run.py $(DEMO) $(ARGS)

examples: setup  ## bake examples/ anew
	@for flavour in $(FLAVOURS); do $(PY) bake.py examples/$$flavour examples/$$flavour/answers.yaml >/dev/null || exit 1; done

accelerators:  ## derive accelerators.csv from SkyPilot's table (CATALOG=path, by default where SkyPilot keeps it)
	@python3 accelerators.py "$(CATALOG)"

lint: setup  ## style and types of the template and of what it generates
	@.venv/bin/ruff check -q . && .venv/bin/ruff format -q --check .
	@.venv/bin/basedpyright --level error && .venv/bin/basedpyright --level error -p "$(PROJECT)" --venvpath .

lock:  ## compile every flavour's requirements anew (ARGS=--upgrade takes newer versions)
	@rm -rf .build/lock && mkdir -p .build/lock
	@for flavour in $(FLAVOURS); do \
	  cp -r "$(PROJECT)" .build/lock/$$flavour && cd .build/lock/$$flavour && \
	  for kind in requirements requirements-dev; do \
	    mv $$kind.$$flavour.in $$kind.in && { mv $$kind.$$flavour.txt $$kind.txt 2>/dev/null || true; }; done && \
	  $(MAKE) --no-print-directory lock ARGS='$(ARGS)' && cd ../../.. && \
	  for kind in requirements requirements-dev; do cp .build/lock/$$flavour/$$kind.txt "$(PROJECT)/$$kind.$$flavour.txt"; done && \
	  cp .build/lock/$$flavour/local/requirements.txt "$(PROJECT)/local/" && \
	  cp .build/lock/$$flavour/workload/requirements/*.txt "$(PROJECT)/workload/requirements/" || exit 1; \
	done

clean:  ## stop the demo's local SkyPilot and remove all that was made
	@test ! -d $(DEMO)/.local || $(MAKE) --no-print-directory -C $(DEMO) local-down
	@rm -rf .build .venv .uv
