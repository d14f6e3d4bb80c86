# What is this flavour's own, included by Makefile: Airflow, whose tasks are pods. What Airflow keeps on this machine lies in .airflow/.
.PHONY: demo run ui deploy reap
export AIRFLOW_HOME ?= $(CURDIR)/.airflow
export AIRFLOW__CORE__DAGS_FOLDER ?= $(CURDIR)/dags
export AIRFLOW__CORE__LOAD_EXAMPLES ?= False
# Pods are waited for in the triggerer, and hold no worker
export AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE ?= True
# This machine's user alone, and whoever reaches 127.0.0.1: no login
export AIRFLOW__API__HOST ?= 127.0.0.1
export AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS ?= True
# Kubernetes as kubeconfig has it, unless Airflow has another connection of this name
export AIRFLOW_CONN_KUBERNETES_DEFAULT ?= {"conn_type": "kubernetes"}
# DAGs import sky_orchestrate from here, wherever they are parsed
export PYTHONPATH := $(CURDIR)
# Where the pods of `make run` and `make ui` run, and what they run: `make deploy` has made both
export SKY_ORCHESTRATE_NAMESPACE ?= $(notdir $(CURDIR))

include kubernetes.mk

demo: setup  ## a Kubernetes on this machine (kind), the project deployed there, and the pipeline run in pods
	@$(MAKE) --no-print-directory kind-up && $(MAKE) --no-print-directory deploy && $(MAKE) --no-print-directory run

run: setup  ## run the pipeline in pods from this process, with no server of Airflow (ARGS=epochs=10)
	@$(PY) -m airflow_local.run $(ARGS)

ui: setup  ## Airflow on this machine, its tasks in pods, with its web page on http://127.0.0.1:8080
	@$(PY) -m airflow_local.ui

deploy: deploy-kubernetes  ## bring the image, the project and Airflow to the cluster of kubeconfig

reap: setup  ## take down what ended or lost runs left; AIRFLOW_API_URL is asked (ARGS=--dry-run only tells)
	@$(PY) -m sky_orchestrate reap $(ARGS)
