"""What Kubernetes does to a cluster's pods: eviction, no node, no image, no right. Each is told in one clear line, and nothing is left."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.deployed.deployment import Deployed
from tests.e2e.orchestra import Orchestra
from tests.e2e.pods import PodJob, Pods
from tests.e2e.processes import Household, until

pytestmark = [pytest.mark.e2e, pytest.mark.kubernetes, pytest.mark.deadline(900)]

Ran = Callable[..., subprocess.CompletedProcess[str]]
_LIMIT, _NOT_RUN, _WRONG_INPUT = 4, 3, 2


@pytest.fixture
def run(household: Household, job: PodJob, tmp_path: Path) -> Ran:
    """The command line, with the job's name and these resources."""

    def run(resources: dict[str, Any], *options: str) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "task.yaml"
        file.write_text(json.dumps({"name": job.name, "resources": {"infra": "k8s", "cpus": 1, "memory": 1, **resources}, "run": "true"}))
        return household.run("-m", "sky_orchestrate", "run", str(file), *options, within=600)

    return run


def last_line(ran: subprocess.CompletedProcess[str]) -> str:
    return ran.stderr.strip().splitlines()[-1]


def test_rule_08_an_evicted_pod_is_a_lost_cluster_and_the_retry_launches_again(skypilot: Pods, orchestra: Orchestra, job: PodJob) -> None:
    run = orchestra.step(job.yaml(job.wait), retries=1)
    until("the job has begun", lambda: run.says("waiting"), within=400)
    (pod,) = job.pods
    name = pod.removeprefix("pod/")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": skypilot.kubernetes.namespace}}
    address = f"/api/v1/namespaces/{skypilot.kubernetes.namespace}/pods/{name}/eviction"
    skypilot.kubernetes.kubectl("create", "--raw", address, "--filename", "-", given=json.dumps(eviction))
    until("the loss is told", lambda: run.says("preempted, evicted or taken down"), within=300)
    until("the job has begun again", lambda: skypilot.submissions(job.name) == 2 and bool(job.pods), within=400)
    until("its machine takes commands", lambda: _ended(job), within=300, every=3)
    assert run.verdict(within=300) == "Completed"
    assert skypilot.submissions(job.name) == 2
    skypilot.assert_nothing_left()


def _ended(job: PodJob) -> bool:
    try:
        job.end()
    except AssertionError:
        return False
    return True


@contextmanager
def no_gpu_is_free(deployed: Deployed) -> Iterator[None]:
    """A pod of somebody else's holds all there are."""
    where = deployed.skypilot
    nodes = json.loads(where.kubectl("get", "nodes", "--output", "json"))["items"]
    (most,) = {node["status"]["allocatable"]["nvidia.com/gpu"] for node in nodes if "nvidia.com/gpu" in node["status"]["allocatable"]}
    container = {"name": "hog", "image": "python:3.11-slim", "command": ["sleep", "900"], "imagePullPolicy": "IfNotPresent"}
    container |= {"resources": {"limits": {"nvidia.com/gpu": most}}}
    hogs = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"hog-{number}"}, "spec": {"containers": [container]}}
        for number, _ in enumerate(node for node in nodes if "nvidia.com/gpu" in node["status"]["allocatable"])
    ]
    for hog in hogs:
        hog["spec"] |= {"terminationGracePeriodSeconds": 0}
    where.kubectl("apply", "--filename", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": hogs}))
    try:
        for hog in hogs:
            where.kubectl("wait", f"pod/{hog['metadata']['name']}", "--for=condition=Ready", "--timeout=120s")
        yield
    finally:
        where.kubectl("delete", *(f"pod/{hog['metadata']['name']}" for hog in hogs), "--wait")


def test_rule_07_no_free_gpu_is_waited_for_until_the_limit(
    deployed: Deployed, skypilot: Pods, household: Household, job: PodJob, tmp_path: Path, run: Ran
) -> None:
    with no_gpu_is_free(deployed):
        ran = run({"accelerators": "H100:1"}, "--limit-provision", "90s")
    assert ran.returncode == _LIMIT, ran.stderr
    assert "was not up within the limit of 90 s" in last_line(ran)
    assert skypilot.submissions(job.name) == 1
    skypilot.assert_nothing_left()


def test_more_gpus_than_any_node_has_are_refused_at_once(skypilot: Pods, job: PodJob, run: Ran) -> None:
    ran = run({"accelerators": "H100:64"})
    assert ran.returncode == _NOT_RUN, ran.stderr
    assert "no resources available" in last_line(ran)
    assert "H100" in last_line(ran)
    skypilot.assert_nothing_left()


def test_an_image_that_cannot_be_pulled_is_told_by_its_name(skypilot: Pods, job: PodJob, run: Ran) -> None:
    ran = run({"image_id": "docker:registry.invalid/no-such-image:1"})
    assert ran.returncode == _NOT_RUN, ran.stderr
    assert "registry.invalid/no-such-image:1" in last_line(ran)
    assert "cannot be pulled" in last_line(ran)
    assert skypilot.submissions(job.name) == 1
    skypilot.assert_nothing_left()


@contextmanager
def without_the_right(deployed: Deployed, verb: str, resource: str) -> Iterator[None]:
    where = deployed.skypilot
    role = json.loads(where.kubectl("get", "role", "sky-api-server", "--output", "json"))
    role["metadata"] = {"name": "sky-api-server", "namespace": where.namespace}
    (rule,) = [rule for rule in role["rules"] if rule["resources"] == [resource]]
    rule["verbs"].remove(verb)
    where.kubectl("replace", "--filename", "-", given=json.dumps(role))
    try:
        yield
    finally:
        rule["verbs"].append(verb)
        where.kubectl("replace", "--filename", "-", given=json.dumps(role))


def test_a_right_that_is_missing_is_told_by_its_name(deployed: Deployed, skypilot: Pods, job: PodJob, run: Ran) -> None:
    with without_the_right(deployed, "create", "pods"):
        ran = run({})
    assert ran.returncode == _NOT_RUN, ran.stderr
    assert 'may not create pods in the namespace "' in last_line(ran)
    assert skypilot.submissions(job.name) == 1
    skypilot.assert_nothing_left()
