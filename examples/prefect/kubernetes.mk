# The project on Kubernetes, included by orchestrator.mk. manifests/README.md tells what is run when.
.PHONY: kind-up kind-down kubernetes-rights deploy-kubernetes

kind-up: setup  ## a Kubernetes on this machine (kind, Docker), with the project's namespaces
	@$(PY) -m kube kind-up

kind-down: setup  ## remove it, and all that is in it
	@$(PY) -m kube kind-down

kubernetes-rights: setup  ## make the project's namespaces and roles: the one command for a cluster admin
	@$(PY) -m kube rights

deploy-kubernetes: setup  ## build the images, bring them to the cluster, apply, and wait (ARGS='--registry NAME')
	@$(PY) -m kube deploy $(ARGS)
