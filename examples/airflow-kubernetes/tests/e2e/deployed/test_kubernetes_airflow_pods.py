"""Airflow in the cluster, each of its tasks in a pod by KubernetesExecutor: its own pod dies, and what it missed the reaper mends."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator

import pytest

from tests.e2e import worker_pods
from tests.e2e.airflow_run import Run
from tests.e2e.deployed.deployment import Deployed
from tests.e2e.pods import PodJob, Pods
from tests.e2e.processes import until
from tests.e2e.worker_pods import PodOrchestra

pytestmark = [pytest.mark.e2e, pytest.mark.kubernetes, pytest.mark.deadline(900)]

# By Kubernetes' own address of itself, which every pod has in its environment. No token: as nobody.
_ASK = """\
import os, ssl, sys, urllib.error, urllib.request
print("token" if os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token") else "no token")
host = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
for resource in ("pods", "secrets"):
    try:
        url = f"{host}/api/v1/namespaces/{sys.argv[1]}/{resource}"
        print(resource, urllib.request.urlopen(url, context=ssl._create_unverified_context(), timeout=20).status)
    except urllib.error.HTTPError as error:
        print(resource, error.code)
"""


@pytest.fixture
def start(orchestra: PodOrchestra, job: PodJob, deployed: Deployed) -> Iterator[Callable[[str], Run]]:
    """A run of one step, whose pod finds the job's task file in a ConfigMap."""
    name = f"task-{uuid.uuid4().hex[:8]}"

    def run(script: str) -> Run:
        deployed.workers.kubectl("create", "configmap", name, f"--from-literal=task.yaml={job.yaml(script)}")
        return orchestra.trigger(worker_pods.STEP, config_map=name)

    yield run
    deployed.workers.kubectl("delete", "configmap", name, "--ignore-not-found")


def pods_of(deployed: Deployed, name: str) -> list[str]:
    return deployed.workers.kubectl("get", "pods", f"--selector=app.kubernetes.io/name={name}", "--output", "name").split()


def assert_nothing_left(deployed: Deployed, skypilot: Pods) -> None:
    """No pod of a task, neither Airflow's nor the one that it has made, and no cluster."""
    until("no task's pod is left", lambda: not pods_of(deployed, "sky-task") + pods_of(deployed, "airflow-task"), within=120, every=2)
    skypilot.assert_nothing_left()


def reap(deployed: Deployed) -> str:
    """What the CronJob makes every ten minutes, made now. Returns what it says."""
    name = f"reap-{uuid.uuid4().hex[:8]}"
    deployed.workers.kubectl("create", "job", name, "--from=cronjob/sky-reaper")
    deployed.workers.kubectl("wait", f"job/{name}", "--for=condition=Complete", "--timeout=240s", within=250)
    said = deployed.workers.kubectl("logs", f"job/{name}")
    deployed.workers.kubectl("delete", "job", name)
    return said


def test_the_guides_example_runs_in_pods_of_pods(deployed: Deployed, skypilot: Pods, orchestra: PodOrchestra) -> None:
    run = orchestra.example()
    assert run.verdict(within=800) == "Completed"
    cluster = run.xcom("sky_launch")["cluster_name"]
    # The logs of pods that are gone.
    run.assert_says(f"{cluster}: job 1 is SUCCEEDED")
    run.assert_says(f"{cluster}: UP on")
    run.assert_says(f"{cluster}: gone")
    assert skypilot.submissions(cluster) == 1
    assert_nothing_left(deployed, skypilot)


def test_the_second_example_hands_on_what_a_pod_put_out(deployed: Deployed, skypilot: Pods, orchestra: PodOrchestra) -> None:
    run = orchestra.trigger("sky_k8s_example_xcoms")
    assert run.verdict(within=800) == "Completed"
    cluster = run.xcom("sky_launch")["cluster_name"]
    assert run.xcom("report").startswith(f"{cluster}: job 1 SUCCEEDED, {{")
    run.assert_says(f"{cluster}: job 1 is SUCCEEDED")
    assert skypilot.submissions(cluster) == 1
    assert_nothing_left(deployed, skypilot)


def test_python_that_needs_skypilot_runs_in_a_pod_of_the_projects_image(
    deployed: Deployed, skypilot: Pods, orchestra: PodOrchestra
) -> None:
    run = orchestra.trigger("sky_k8s_costs")
    assert run.verdict(within=400) == "Completed"
    assert any(re.search(r"\d+ clusters, \$\d+\.\d\d in 30 days", line) for line in run.logs)
    assert_nothing_left(deployed, skypilot)


def test_rule_05_airflows_own_pod_killed_mid_run_and_the_next_one_follows_the_same_job(
    deployed: Deployed, skypilot: Pods, orchestra: PodOrchestra, job: PodJob, start: Callable[[str], Run]
) -> None:
    run = start(job.wait)
    until("the job has begun", lambda: run.says("waiting"), within=400)
    before = [*job.pods, *pods_of(deployed, "sky-task")]
    orchestra.kill_worker()
    orchestra.keep_a_worker()
    assert [*job.pods, *pods_of(deployed, "sky-task")] == before
    heard = len(run.logs)
    until("the job is heard of again", lambda: len(run.logs) > heard + 5, within=200)
    job.end()
    assert run.verdict(within=240) == "Completed"
    assert not run.retried
    assert skypilot.submissions(job.name) == 1
    assert_nothing_left(deployed, skypilot)


def test_rule_04_the_reaper_leaves_a_live_runs_cluster_and_takes_down_that_of_a_run_that_failed_while_airflow_was_away(
    deployed: Deployed, skypilot: Pods, orchestra: PodOrchestra, job: PodJob, start: Callable[[str], Run]
) -> None:
    run = start(job.wait)
    until("the job has begun", lambda: run.says("waiting"), within=400)
    (cluster,) = job.pods
    reap(deployed)
    assert job.pods == [cluster]
    orchestra.leave()
    # As a node that goes away: nobody is there to see it, and Airflow finds no pod when it is back.
    deployed.workers.kubectl("delete", *pods_of(deployed, "sky-task"), "--force", "--grace-period=0")
    orchestra.come_back()
    run.mark("failed")
    assert run.verdict(within=240) == "Failed"
    assert job.pods == [cluster]
    assert job.name in reap(deployed)
    assert skypilot.submissions(job.name) == 1
    assert_nothing_left(deployed, skypilot)


def test_a_tasks_pod_has_no_token_and_is_told_of_neither_pods_nor_secrets(
    deployed: Deployed, skypilot: Pods, job: PodJob, start: Callable[[str], Run]
) -> None:
    run = start(job.wait)
    (pod,) = until("the task's pod is there", lambda: pods_of(deployed, "sky-task"), within=200)
    deployed.workers.kubectl("wait", pod, "--for=condition=Ready", "--timeout=120s", within=130)
    spec = json.loads(deployed.workers.kubectl("get", pod, "--output", "json"))["spec"]
    assert spec["automountServiceAccountToken"] is False
    inside = ("exec", pod, "--container", "base", "--", "python", "-c", _ASK, deployed.workers.namespace)
    assert deployed.workers.kubectl(*inside).splitlines() == ["no token", "pods 403", "secrets 403"]
    until("the job has begun", lambda: run.says("waiting"), within=400)
    job.end()
    assert run.verdict(within=240) == "Completed"
    assert_nothing_left(deployed, skypilot)


MAY = [
    pytest.param("create", "pods", "workers", True, id="it makes pods in its namespace"),
    pytest.param("watch", "events", "workers", True, id="and sees why one does not start"),
    pytest.param("create", "pods", "skypilot", False, id="it makes none among the clusters"),
    pytest.param("create", "pods", "default", False, id="nor anywhere else"),
    pytest.param("get", "secrets", "workers", False, id="it reads no secret of its own namespace"),
    pytest.param("get", "pods", "skypilot", False, id="it does not see the clusters"),
    pytest.param("create", "rolebindings", "workers", False, id="it gives nobody rights"),
    pytest.param("list", "nodes", "workers", False, id="it sees no node"),
]


@pytest.mark.parametrize(("verb", "resource", "namespace", "may"), MAY)
def test_airflows_account_may_do_what_its_role_says_and_no_more(
    deployed: Deployed, verb: str, resource: str, namespace: str, *, may: bool
) -> None:
    assert deployed.may(deployed.workers, "airflow", verb, resource, namespace) == may
