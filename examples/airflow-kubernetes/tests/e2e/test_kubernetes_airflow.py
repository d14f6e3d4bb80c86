"""Airflow's tasks as pods on a real Kubernetes, and what they start there: one job each, and nothing left whatever happens to a pod.

Any cluster will do that KUBECONFIG (or ~/.kube/config) names, that has a GPU such as the task files ask for, and whose pods reach this
machine at SKY_E2E_HOST (by default the first node's address, right where the node is this machine). SKY_E2E_PROJECT_IMAGE names the
project's image, which the nodes have. SKY_E2E_IMAGE names the image of SkyPilot's pods where they cannot download SkyPilot's.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests.conftest import ROOT
from tests.e2e import pods
from tests.e2e.orchestra import Orchestra, Run
from tests.e2e.pods import S3, Kubernetes, PodJob, Pods
from tests.e2e.processes import PATIENCE, Household, keep_house, until

pytestmark = [pytest.mark.e2e, pytest.mark.kubernetes, pytest.mark.deadline(900)]

STEPS = ("data_preprocessing", "train", "eval")


@pytest.fixture(scope="session")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    """SkyPilot's own namespace."""
    with pods.namespace(tmp_path_factory.mktemp("kubernetes")) as kubernetes:
        yield kubernetes


@pytest.fixture(scope="session")
def tasks(kubernetes: Kubernetes) -> Iterator[Kubernetes]:
    """The namespace of Airflow's tasks, under restricted pod security."""
    name = f"{kubernetes.namespace}-tasks"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    kubernetes.kubectl("apply", "--filename", "-", given=json.dumps(made))
    try:
        yield replace(kubernetes, namespace=name)
    finally:
        kubernetes.kubectl("delete", "namespace", name, "--wait", "--timeout=120s", within=150)


@pytest.fixture(scope="session")
def skypilot(kubernetes: Kubernetes, tasks: Kubernetes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    with pytest.MonkeyPatch.context() as patch:
        # Pods ask it too, and it asks nobody who he is: a machine that others reach is not the place for this.
        patch.setenv("SKY_LOCAL_HOST", "0.0.0.0")
        with pods.api_server(kubernetes, ROOT) as endpoint:
            # SkyPilot's SDK writes to the home folder; the caller's is not ours.
            patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
            patch.setenv("SKYPILOT_API_SERVER_ENDPOINT", endpoint)
            patch.setenv("SKYPILOT_DISABLE_LOCAL_API_SERVER", "1")
            first = "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}"
            host = os.environ.get("SKY_E2E_HOST") or tasks.kubectl("get", "nodes", "--output", first)
            reached = endpoint.replace("127.0.0.1", host)
            # The example's one cluster keeps its data to itself.
            settings = {"SKYPILOT_API_SERVER_ENDPOINT": reached, "DATA_BUCKET_URL": "file:///tmp/bucket"}
            tasks.kubectl("create", "configmap", "worker", *(f"--from-literal={name}={value}" for name, value in settings.items()))
            yield Pods(kubernetes, endpoint)


@pytest.fixture(scope="session")
def household(skypilot: Pods, tasks: Kubernetes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    image = os.environ.get("SKY_E2E_PROJECT_IMAGE")
    assert image, "SKY_E2E_PROJECT_IMAGE names the project's image, built from manifests/Dockerfile and brought to the nodes"
    with keep_house(
        ROOT,
        tmp_path_factory.mktemp("e2e"),
        SKYPILOT_API_SERVER_ENDPOINT=skypilot.endpoint,
        KUBECONFIG=str(tasks.kubeconfig),
        PYTHONPATH=str(ROOT),
        SKY_ORCHESTRATE_NAMESPACE=tasks.namespace,
        SKY_ORCHESTRATE_IMAGE=image,
    ) as household:
        yield household


@pytest.fixture(scope="session")
def s3(kubernetes: Kubernetes, tasks: Kubernetes) -> Iterator[S3]:
    with pods.s3_server(kubernetes) as s3:
        tasks.kubectl("create", "secret", "generic", "s3", "--from-literal=id=e2e-key-id", "--from-literal=key=e2e-key-value")
        yield s3


@pytest.fixture
def job(skypilot: Pods) -> PodJob:
    return PodJob(skypilot)


@pytest.fixture
def start(orchestra: Orchestra, job: PodJob, tasks: Kubernetes) -> Iterator[Callable[..., Run]]:
    """A task's pod that runs the job."""
    name = f"task-{uuid.uuid4().hex[:8]}"

    def run(script: str, **arguments: object) -> Run:
        tasks.kubectl("create", "configmap", name, f"--from-literal=task.yaml={job.yaml(script)}")
        return orchestra.step(["run", "/task/task.yaml"], config_map=name, **arguments)

    yield run
    tasks.kubectl("delete", "configmap", name, "--ignore-not-found")


def task_pods(tasks: Kubernetes) -> list[str]:
    return tasks.kubectl("get", "pods", "--output", "name").split()


def assert_nothing_left(skypilot: Pods, tasks: Kubernetes) -> None:
    until("no pod of a task is left", lambda: not task_pods(tasks), within=90, every=2)
    skypilot.assert_nothing_left()


def kill(tasks: Kubernetes) -> None:
    """As a node that goes away: no signal, no grace."""
    tasks.kubectl("delete", *task_pods(tasks), "--force", "--grace-period=0")


def test_the_guides_example_launches_reads_the_log_lists_and_takes_down(skypilot: Pods, tasks: Kubernetes, orchestra: Orchestra) -> None:
    run = orchestra.example()
    assert run.verdict(within=600) == "Completed"
    cluster = run.xcom("sky_launch")["cluster_name"]
    run.assert_says(f"{cluster}: job 1 is SUCCEEDED")
    run.assert_says(f"{cluster}: UP on")
    run.assert_says(f"{cluster}: gone")
    assert skypilot.submissions(cluster) == 1
    assert_nothing_left(skypilot, tasks)


@pytest.mark.smoke
def test_the_pipeline_runs_in_pods(skypilot: Pods, tasks: Kubernetes, orchestra: Orchestra, s3: S3) -> None:
    secrets = {"AWS_ACCESS_KEY_ID": "s3/id", "AWS_SECRET_ACCESS_KEY": "s3/key"}
    run = orchestra.pipeline(envs={"DATA_BUCKET_URL": "s3://data", "AWS_ENDPOINT_URL": s3.endpoint}, secrets=secrets)
    assert run.verdict(within=900) == "Completed"
    result = run.result
    assert result["accuracy"] > 0.95
    steps = result["steps"]
    assert [steps[name]["status"] for name in STEPS] == ["SUCCEEDED"] * 3
    # The data has a cluster of its own, and evaluation follows training on its.
    assert [steps[name]["job_id"] for name in STEPS] == [1, 1, 2]
    assert [skypilot.submissions(steps[name]["cluster_name"]) for name in STEPS] == [1, 2, 2]
    assert any(run.name in name for name in s3.names("data"))
    assert "e2e-key" not in run.record
    assert_nothing_left(skypilot, tasks)


@pytest.mark.parametrize("moment", ["mid-launch", "mid-run"])
def test_rule_05_a_tasks_pod_that_is_killed_is_replaced_by_one_that_attaches(
    skypilot: Pods, tasks: Kubernetes, job: PodJob, start: Callable[..., Run], moment: str
) -> None:
    run = start(job.wait, retries=2)
    if moment == "mid-launch":
        until("the launch is sent", lambda: skypilot.submissions(job.name), within=120)
    else:
        until("the job has begun", lambda: run.says("waiting"), within=400)
    kill(tasks)
    until("another try", lambda: run.retried, within=120)
    until("the new pod has attached", lambda: run.says("attached to job 1"), within=400)
    job.end()
    assert run.verdict(within=240) == "Completed"
    assert run.xcom()["job_id"] == 1
    assert skypilot.submissions(job.name) == 1
    assert_nothing_left(skypilot, tasks)


def test_rule_05_a_triggerer_that_is_killed_leaves_the_pod_and_the_next_one_goes_on(
    skypilot: Pods, tasks: Kubernetes, orchestra: Orchestra, job: PodJob, start: Callable[..., Run]
) -> None:
    run = start(job.wait)
    until("the job has begun", lambda: run.says("waiting"), within=400)
    before = task_pods(tasks)
    orchestra.stop_worker()
    orchestra.start_worker()
    assert task_pods(tasks) == before
    job.end()
    assert run.verdict(within=240) == "Completed"
    assert not run.retried
    assert skypilot.submissions(job.name) == 1
    assert_nothing_left(skypilot, tasks)


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "on its worker"])
def test_rule_06_a_task_marked_failed_takes_its_cluster_down(
    skypilot: Pods, tasks: Kubernetes, job: PodJob, start: Callable[..., Run], *, deferrable: bool
) -> None:
    run = start(job.wait, retries=1, deferrable=deferrable)
    until("the job has begun", lambda: run.says("waiting"), within=400)
    run.mark_task("failed")
    until("the cluster's pod is gone", lambda: not job.pods, within=90, every=1)
    assert run.verdict(within=60 * PATIENCE) == "Failed"
    assert not run.retried
    assert skypilot.submissions(job.name) == 1
    assert_nothing_left(skypilot, tasks)


@pytest.mark.smoke
def test_rule_02_a_failing_job_is_a_failed_task_that_says_so(
    skypilot: Pods, tasks: Kubernetes, job: PodJob, start: Callable[..., Run]
) -> None:
    run = start("echo no such luck; exit 7")
    assert run.verdict(within=400) == "Failed"
    run.assert_says("no such luck")
    assert "exit code 7" in run.message
    assert skypilot.submissions(job.name) == 1
    assert_nothing_left(skypilot, tasks)


def test_an_image_that_cannot_be_pulled_is_one_clear_error(
    skypilot: Pods, tasks: Kubernetes, job: PodJob, start: Callable[..., Run]
) -> None:
    run = start("true", image="no-such-image:1", image_pull_policy="Never")
    assert run.verdict(within=240) == "Failed"
    assert run.message.startswith("the image no-such-image:1 cannot be pulled")
    assert skypilot.submissions(job.name) == 0
    assert_nothing_left(skypilot, tasks)


def test_wrong_input_is_not_tried_again(skypilot: Pods, tasks: Kubernetes, orchestra: Orchestra) -> None:
    run = orchestra.step(["run", "tasks/no_such.yaml"], retries=3)
    assert run.verdict(within=240) == "Failed"
    assert "tasks/no_such.yaml" in run.message
    assert not run.retried
    assert_nothing_left(skypilot, tasks)
