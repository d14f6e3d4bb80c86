"""The pipeline on a real Kubernetes, as it is baked: `infra: k8s` with its GPU, data in S3, and nothing left whatever happens.

Any cluster will do that KUBECONFIG (or ~/.kube/config) names and that has a GPU such as the task files ask for. SKY_E2E_IMAGE
names the pods' image where the node cannot download SkyPilot's.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import ROOT
from tests.e2e import pods
from tests.e2e.orchestra import Orchestra, Run
from tests.e2e.pods import S3, Kubernetes, PodJob, Pods
from tests.e2e.processes import Household, keep_house, until

pytestmark = [pytest.mark.e2e, pytest.mark.kubernetes, pytest.mark.deadline(900)]

STEPS = ("data_preprocessing", "train", "eval")


@pytest.fixture(scope="session")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    with pods.namespace(tmp_path_factory.mktemp("kubernetes")) as kubernetes:
        yield kubernetes


@pytest.fixture(scope="session")
def skypilot(kubernetes: Kubernetes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    with pods.api_server(kubernetes, ROOT) as endpoint, pytest.MonkeyPatch.context() as patch:
        # SkyPilot's SDK writes to the home folder; the caller's is not ours.
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("SKYPILOT_API_SERVER_ENDPOINT", endpoint)
        patch.setenv("SKYPILOT_DISABLE_LOCAL_API_SERVER", "1")
        yield Pods(kubernetes, endpoint)


@pytest.fixture(scope="session")
def household(skypilot: Pods, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    """The infra stays what the task files say."""
    with keep_house(ROOT, tmp_path_factory.mktemp("e2e"), SKYPILOT_API_SERVER_ENDPOINT=skypilot.endpoint) as household:
        yield household


@pytest.fixture(scope="session")
def s3(kubernetes: Kubernetes) -> Iterator[S3]:
    with pods.s3_server(kubernetes) as s3:
        yield s3


@pytest.mark.smoke
def test_the_pipeline_runs_in_pods(skypilot: Pods, orchestra: Orchestra, s3: S3) -> None:
    for block in ("e2e-key-id", "e2e-key"):
        orchestra.keep_secret(block, f"{block}-value")
    secrets = {"AWS_ACCESS_KEY_ID": "e2e-key-id", "AWS_SECRET_ACCESS_KEY": "e2e-key"}
    bucket = {"DATA_BUCKET_NAME": "data", "DATA_BUCKET_STORE_TYPE": "s3", "AWS_ENDPOINT_URL": s3.endpoint}
    run = orchestra.pipeline(envs=bucket, secrets=secrets)
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


@pytest.fixture
def job(skypilot: Pods) -> PodJob:
    return PodJob(skypilot)


def start(orchestra: Orchestra, job: PodJob, *, run: str = "true", environ: dict[str, str] | None = None) -> Run:
    return orchestra.step(job.yaml(run), environ=environ)


@pytest.mark.smoke
def test_a_failing_job_is_a_failed_run_and_leaves_no_pod(skypilot: Pods, orchestra: Orchestra, job: PodJob) -> None:
    run = start(orchestra, job, run="echo no such luck; exit 7")
    assert run.verdict(within=400) == "Failed"
    run.assert_says("no such luck")
    assert skypilot.submissions(job.name) == 1
    skypilot.assert_nothing_left()


def test_the_reaper_takes_down_the_pod_of_a_crashed_run(skypilot: Pods, orchestra: Orchestra, job: PodJob) -> None:
    run = start(orchestra, job, run=job.wait)
    until("the job has begun", lambda: run.says("waiting"), within=400)
    orchestra.kill_worker()
    run.lost(within=240)
    assert job.pods
    orchestra.start_worker()
    reaper = orchestra.reap()
    assert reaper.verdict(within=240) == "Completed"
    reaper.assert_says("taken down")
    assert skypilot.submissions(job.name) == 1
    skypilot.assert_nothing_left()


def test_autodown_takes_the_pod_that_a_killed_worker_left(skypilot: Pods, orchestra: Orchestra, job: PodJob) -> None:
    run = start(orchestra, job, run=job.wait, environ={"SKY_ORCHESTRATE_IDLE_MINUTES": "1"})
    until("the job has begun", lambda: run.says("waiting"), within=400)
    orchestra.kill_worker()
    assert job.pods
    job.end()
    until("autodown has taken the pod", lambda: not job.pods, within=300, every=5)
    # Nobody has said anything of the run yet: it was the cluster itself.
    assert not skypilot.asked_down(job.name)
    run.lost(within=240)
    assert skypilot.submissions(job.name) == 1
    skypilot.assert_nothing_left()
