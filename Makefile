# `make` or `make help` lists what there is. Everything that is made lies in .venv/ and .build/ of this folder.
.DEFAULT_GOAL := help
.PHONY: help setup bakes alone demo test e2e e2e-smoke e2e-kubernetes e2e-kubernetes-smoke bench examples accelerators lint lock clean
SHELL := /bin/bash
PROJECT := {{cookiecutter.project_slug}}
UV := ./$(PROJECT)/local/uv.sh
PY := .venv/bin/python
FLAVOURS := $(or $(FLAVOUR),prefect temporal airflow airflow-kubernetes)
# Those whose pipeline a local SkyPilot alone can run; the others want a Kubernetes too
ON_THIS_MACHINE := $(filter-out airflow-kubernetes,$(FLAVOURS))
DEPLOYED := tests/e2e/deployed
IN_PODS := $(filter-out airflow,$(FLAVOURS))
DEFAULT := prefect
DEMO := .build/$(or $(FLAVOUR),$(DEFAULT))/sky-train-pipeline
# $(call each,TARGET ...): in every flavour's bake; each_alone: where two local SkyPilots at once would be more than a small machine likes
in_bake = $(MAKE) --no-print-directory -C .build/$$flavour/sky-train-pipeline
each = for flavour in $(FLAVOURS); do $(in_bake) $(1) || exit 1; done
each_alone = for flavour in $(ON_THIS_MACHINE); do $(MAKE) --no-print-directory alone FLAVOUR=$$flavour && $(in_bake) $(1) || exit 1; done
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

bakes: setup  ## bake every flavour anew into .build/ (FLAVOUR=temporal: that one alone, here and below)
	@for flavour in $(FLAVOURS); do $(PY) bake.py .build/$$flavour/sky-train-pipeline orchestrator=$$flavour >/dev/null || exit 1; done
	@# the template's own environment is the default flavour's
	@test ! -d .build/$(DEFAULT)/sky-train-pipeline || \
	  { ln -sfn ../../../.venv .build/$(DEFAULT)/sky-train-pipeline/.venv && touch .venv/.ready; }

alone:  ## stop the local SkyPilot of every flavour but FLAVOUR
	@for other in $(filter-out $(DEMO),$(wildcard .build/*/sky-train-pipeline)); do \
	  test ! -d $$other/.local || $(MAKE) --no-print-directory -C $$other local-down || exit 1; done

demo: bakes alone  ## run the default project's pipeline for real on a local SkyPilot (FLAVOUR=temporal: that one's)
	@$(MAKE) --no-print-directory -C $(DEMO) demo

test: bakes  ## the fast tests: the template's, then those of a project of each flavour
	@$(PY) -m pytest -q -n auto --dist worksteal
	@$(call each,test)

e2e: bakes  ## every flavour on the local SkyPilot, faults included, and the examples copied out of here
	@$(call each_alone,e2e ARGS='$(ARGS)')
	@$(PY) -m pytest -q -m e2e

e2e-smoke: bakes  ## the pipeline, a failing job, a kill -9 and a cancel, per flavour
	@$(call each_alone,e2e ARGS='-m "smoke and not kubernetes" $(ARGS)')

e2e-kubernetes: bakes  ## every flavour that has manifests, on the Kubernetes that kubeconfig names
	@# beside the cluster, then in it: a process's SDK keeps to one API server
	@for flavour in $(IN_PODS); do for tests in '--ignore=$(DEPLOYED)' '$(DEPLOYED)'; do \
	  $(in_bake) e2e ARGS="-m kubernetes $$tests $(ARGS)" || exit 1; done; done

e2e-kubernetes-smoke: bakes  ## the pipeline and a failing job in pods there, per flavour
	@for flavour in $(IN_PODS); do $(in_bake) e2e ARGS='-m "smoke and kubernetes" $(ARGS)' || exit 1; done

bench: bakes alone  ## ratios against the bare sky command line and the guide's own code (FLAVOUR=temporal: that one's)
	@$(PY) bench/run.py $(DEMO) $(ARGS)

examples: setup  ## bake examples/ anew
	@for answers in examples/*/answers.yaml; do $(PY) bake.py "$${answers%/*}" "$$answers" >/dev/null || exit 1; done

accelerators:  ## derive accelerators.csv from SkyPilot's table (CATALOG=path, by default where SkyPilot keeps it)
	@python3 accelerators.py "$(CATALOG)"

lint: bakes  ## style and types of the template, and of what it generates
	@.venv/bin/ruff check -q . && .venv/bin/ruff format -q --check . && .venv/bin/basedpyright --level error
	@$(call each,lint)

lock:  ## compile every flavour's requirements anew (ARGS=--upgrade takes newer versions)
	@rm -rf .build/lock && mkdir -p .build/lock
	@for flavour in $(FLAVOURS); do \
	  cp -r "$(PROJECT)" .build/lock/$$flavour && cd .build/lock/$$flavour && \
	  mv orchestrator.$$flavour.mk orchestrator.mk && { mv requirements-overrides.$${flavour%%-*}.txt requirements-overrides.txt 2>/dev/null || true; } && for kind in requirements requirements-dev; do \
	    mv $$kind.$$flavour.in $$kind.in && { mv $$kind.$$flavour.txt $$kind.txt 2>/dev/null || true; }; done && \
	  $(MAKE) --no-print-directory lock ARGS='$(ARGS)' && cd ../../.. && \
	  for kind in requirements requirements-dev; do cp .build/lock/$$flavour/$$kind.txt "$(PROJECT)/$$kind.$$flavour.txt"; done && \
	  cp .build/lock/$$flavour/local/requirements.txt "$(PROJECT)/local/" && \
	  cp .build/lock/$$flavour/workload/requirements/*.txt "$(PROJECT)/workload/requirements/" || exit 1; \
	done

clean:  ## stop the demos' local SkyPilots and remove all that was made
	@$(MAKE) --no-print-directory alone DEMO=
	@rm -rf .build .venv .uv
