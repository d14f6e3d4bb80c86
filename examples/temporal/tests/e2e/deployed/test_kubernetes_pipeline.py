"""The pipeline through the worker in the cluster, with the rights of the manifests and no others."""

from __future__ import annotations

import pytest

from tests.e2e.deployed.deployment import Deployed
from tests.e2e.pods import S3, Pods
from tests.e2e.worker_pods import PodOrchestra

pytestmark = [pytest.mark.e2e, pytest.mark.kubernetes, pytest.mark.deadline(900)]

STEPS = ("data_preprocessing", "train", "eval")
_KEYS = {"AWS_ACCESS_KEY_ID": "e2e-key-id", "AWS_SECRET_ACCESS_KEY": "e2e-key"}


def test_the_pipeline_runs_through_the_worker_in_the_cluster(skypilot: Pods, orchestra: PodOrchestra, s3: S3) -> None:
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


def test_the_reapers_cron_job_asks_the_orchestrator_and_ends_well(deployed: Deployed, skypilot: Pods) -> None:
    deployed.workers.kubectl("create", "job", "reap-now", "--from=cronjob/sky-reaper")
    deployed.workers.kubectl("wait", "job/reap-now", "--for=condition=Complete", "--timeout=180s", within=190)
    assert "error" not in deployed.workers.kubectl("logs", "job/reap-now")
