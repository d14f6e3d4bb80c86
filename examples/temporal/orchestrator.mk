# What is Temporal's own, included by Makefile.
.PHONY: demo run ui deploy worker reap
# Most of the tests wait for Temporal's server
export TEST_PROCESSES_BESIDE_CORES ?= 3

# The first build of Temporal's command takes minutes, and is told of; tests would keep that to themselves.
test demo e2e: .temporal/.found

.temporal/.found: .venv/.ready
	@$(PY) -m temporal.dev_server --find && mkdir -p .temporal && touch $@

demo: setup  ## run the pipeline for real on a local SkyPilot, and check that nothing is left
	@$(PY) -m temporal.demo

run: setup  ## run the pipeline on the infra of .env, and work on it here too (ARGS='--env EPOCHS=10')
	@$(PY) run_workflow.py --with-worker $(ARGS)

ui: setup  ## the orchestrator's server on 127.0.0.1:7233, and its web page on http://127.0.0.1:8233
	@$(PY) -m temporal.dev_server

deploy: setup  ## schedule the reaper, and say how to run workers
	@$(PY) -m temporal.deploy

worker: setup  ## work on whatever is started, and keep the reaper's schedule, until Ctrl-C
	@$(PY) run_worker.py --with-reaper

reap: setup  ## take down clusters whose run ended or was lost (ARGS=--dry-run only tells)
	@$(PY) -m sky_orchestrate reap $(ARGS)

include kubernetes.mk
