"""The pipeline through the worker in the cluster, with the rights of the manifests and no others."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.e2e import worker_pods
from tests.e2e.deployed.deployment import Deployed
from tests.e2e.orchestra import Orchestra
from tests.e2e.pods import S3, Pods

pytestmark = [pytest.mark.e2e, pytest.mark.kubernetes, pytest.mark.deadline(900)]

STEPS = ("data_preprocessing", "train", "eval")
_KEYS = {"AWS_ACCESS_KEY_ID": "e2e-key-id", "AWS_SECRET_ACCESS_KEY": "e2e-key"}


def test_the_pipeline_runs_through_the_worker_in_the_cluster(skypilot: Pods, orchestra: Orchestra, s3: S3) -> None:
    # In a flavour whose secrets are its worker's variables, these are they.
    for name in _KEYS.values():
        orchestra.keep_secret(name, f"{name}-value")
    bucket = {"DATA_BUCKET_NAME": "data", "DATA_BUCKET_STORE_TYPE": "s3", "AWS_ENDPOINT_URL": s3.endpoint}
    run = orchestra.pipeline(envs=bucket, secrets=_KEYS)
    assert run.verdict(within=800) == "Completed"
    result = run.result
    assert result["accuracy"] > 0.95
    steps = result["steps"]
    assert [steps[name]["status"] for name in STEPS] == ["SUCCEEDED"] * 3
    # The data has a cluster of its own, and evaluation follows training on its.
    assert [steps[name]["job_id"] for name in STEPS] == [1, 1, 2]
    assert [skypilot.submissions(steps[name]["cluster_name"]) for name in STEPS] == [1, 2, 2]
    assert any(run.name in name for name in s3.names("data"))
    skypilot.assert_nothing_left()


MAY = [
    pytest.param("sky-api-server", "create", "pods", "skypilot", True, id="the server makes pods in its namespace"),
    pytest.param("sky-api-server", "create", "pods", "workers", False, id="and none in the workers'"),
    pytest.param("sky-api-server", "create", "pods", "default", False, id="nor anywhere else"),
    pytest.param("sky-api-server", "get", "secrets", "skypilot", False, id="it reads no secret of its own namespace"),
    pytest.param("sky-api-server", "get", "secrets", "workers", False, id="nor the workers'"),
    pytest.param("sky-api-server", "create", "rolebindings", "skypilot", False, id="it gives nobody rights"),
    pytest.param("sky-api-server", "create", "namespaces", "skypilot", False, id="it makes no namespace"),
    pytest.param("sky-api-server", "list", "nodes", "skypilot", True, id="it sees the nodes"),
    pytest.param("sky-api-server", "patch", "nodes", "skypilot", False, id="and changes none"),
    pytest.param("sky-cluster", "delete", "pods", "skypilot", True, id="a cluster takes itself down"),
    pytest.param("sky-cluster", "create", "pods", "skypilot", False, id="and makes none"),
    pytest.param("sky-cluster", "create", "pods/exec", "skypilot", False, id="and enters none"),
    pytest.param("sky-cluster", "get", "secrets", "skypilot", False, id="and reads no secret"),
    pytest.param("sky-cluster", "list", "nodes", "skypilot", False, id="and sees no node"),
]


@pytest.mark.parametrize(("account", "verb", "resource", "namespace", "may"), MAY)
def test_each_account_may_do_what_its_role_says_and_no_more(
    deployed: Deployed, account: str, verb: str, resource: str, namespace: str, *, may: bool
) -> None:
    where = {"skypilot": deployed.skypilot.namespace, "workers": deployed.workers.namespace}.get(namespace, namespace)
    who = f"--as=system:serviceaccount:{deployed.skypilot.namespace}:{account}"
    asked = ["kubectl", "--kubeconfig", str(deployed.skypilot.kubeconfig), "auth", "can-i", verb, resource, "--namespace", where, who]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
    assert answer[-1:] == ["yes" if may else "no"]


def test_the_servers_own_token_does_not_read_a_secret_of_another_namespace(deployed: Deployed) -> None:
    secrets = deployed.workers.kubectl("get", "secrets", "--output", "name").split()
    (secret,) = [name.removeprefix("secret/") for name in secrets if name.startswith("secret/worker-")]
    read = ("get", "secret", secret, "--namespace", deployed.workers.namespace)
    inside = ("exec", "deployment/sky-api-server", "--container", "server", "--", "kubectl")
    # With a right that it has, the same way works.
    assert "sky-api-server" in deployed.skypilot.kubectl(*inside, "get", "pods", "--output", "name")
    with pytest.raises(AssertionError, match=r"Forbidden.*cannot get resource \"secrets\""):
        deployed.skypilot.kubectl(*inside, *read)


@pytest.mark.parametrize("name", [worker_pods.WORKER, worker_pods.SERVER])
def test_the_orchestrators_pods_hold_no_token(deployed: Deployed, name: str) -> None:
    pod = json.loads(deployed.workers.kubectl("get", "pod", deployed.pod_of(deployed.workers, name), "--output", "json"))
    mounts = [mount["mountPath"] for container in pod["spec"]["containers"] for mount in container["volumeMounts"]]
    assert mounts
    assert [path for path in mounts if "serviceaccount" in path] == []


def test_the_namespace_admits_no_pod_that_is_not_restricted(deployed: Deployed) -> None:
    with pytest.raises(AssertionError, match="violates PodSecurity"):
        deployed.workers.kubectl("run", "root", "--image=python:3.11-slim", "--image-pull-policy=Never")


def test_the_reapers_cron_job_asks_the_orchestrator_and_ends_well(deployed: Deployed, skypilot: Pods) -> None:
    deployed.workers.kubectl("create", "job", "reap-now", "--from=cronjob/sky-reaper")
    deployed.workers.kubectl("wait", "job/reap-now", "--for=condition=Complete", "--timeout=180s", within=190)
    assert "error" not in deployed.workers.kubectl("logs", "job/reap-now")
