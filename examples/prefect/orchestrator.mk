# What is Prefect's own, included by Makefile.
.PHONY: demo run ui deploy reap
export PREFECT_HOME ?= $(CURDIR)/.prefect
export PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS ?= 180

demo: setup  ## run the pipeline for real on a local SkyPilot, and check that nothing is left
	@$(PY) -m flows.demo

run: setup  ## run the pipeline on the infra of .env
	@$(PY) -m flows.sky_train_flow

ui: setup  ## the orchestrator's server and web page, on http://127.0.0.1:4200
	@.venv/bin/prefect server start

deploy: setup  ## deploy the pipeline and the reaper as prefect.yaml says
	@$(PY) -m flows.deploy

reap: setup  ## take down clusters whose run ended or was lost (ARGS=--dry-run only tells)
	@$(PY) -m sky_orchestrate reap $(ARGS)

include kubernetes.mk
