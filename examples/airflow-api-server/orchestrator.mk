# What is Airflow's own, included by Makefile. Everything Airflow keeps lies in .airflow/ of this folder.
.PHONY: demo run ui deploy reap
export AIRFLOW_HOME ?= $(CURDIR)/.airflow
export AIRFLOW__CORE__DAGS_FOLDER ?= $(CURDIR)/dags
export AIRFLOW__CORE__LOAD_EXAMPLES ?= False
# Jobs are waited for in the triggerer, and hold no worker
export AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE ?= True
# The next task starts within 0.2 s of the one before, not 1 s: a shared cluster idles meanwhile
export AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME ?= 0.2
# This machine's user alone, and whoever reaches 127.0.0.1: no login
export AIRFLOW__API__HOST ?= 127.0.0.1
export AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS ?= True
# SQLite in .airflow/ unless this names another database
# export AIRFLOW__DATABASE__SQL_ALCHEMY_CONN ?= postgresql+psycopg2://airflow:airflow@127.0.0.1/airflow

# The project itself, as Airflow's provider of SkyPilot
INSTALL_PROJECT = $(UV) pip install -q --python $(PY) --no-deps --no-build-isolation -e . || exit 1

demo: setup  ## run the pipeline for real on a local SkyPilot, and check that nothing is left
	@$(PY) -m airflow_local.demo

run: setup  ## run the pipeline on the infra of .env, in this process and with no server (ARGS='epochs=10')
	@$(PY) -m airflow_local.run $(ARGS)

ui: setup  ## Airflow, whole, with its web page on http://127.0.0.1:8080
	@$(PY) -m airflow_local.ui

deploy: setup  ## migrate the database, make the sweep's pool, and say how to run Airflow
	@$(PY) -m airflow_local.prepare --tell

reap: setup  ## take down clusters whose run ended or was lost (ARGS=--dry-run only tells)
	@$(PY) -m airflow_local.prepare && $(PY) -m sky_orchestrate reap $(ARGS)
