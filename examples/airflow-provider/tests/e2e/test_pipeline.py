"""The pipeline as it is deployed, by a real worker, with its data in a folder and in S3."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cloud import Cloud
from tests.e2e.orchestra import Orchestra
from tests.e2e.processes import Household, until

pytestmark = [pytest.mark.e2e, pytest.mark.deadline(480)]

STEPS = ("data_preprocessing", "train", "eval")


@pytest.mark.smoke
def test_the_deployed_pipeline_trains_a_good_model(cloud: Cloud, orchestra: Orchestra) -> None:
    run = orchestra.pipeline()
    assert run.verdict(within=300) == "Completed"
    assert_trained_well(cloud, run.result)


@pytest.fixture
def s3(household: Household) -> Iterator[str]:
    """The endpoint of an S3 server with a bucket named `data`."""
    boto3 = pytest.importorskip("boto3")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = household.start("-m", "moto.server", "-H", "127.0.0.1", "-p", str(port), log="s3")
    endpoint = f"http://127.0.0.1:{port}"
    store: Any = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    until("the S3 server has its bucket", lambda: made(store), within=60)
    yield endpoint
    server.terminate()


def made(store: Any) -> bool:
    try:
        store.create_bucket(Bucket="data")
    except Exception:
        return False
    return True


def test_the_pipeline_keeps_its_data_in_s3(cloud: Cloud, orchestra: Orchestra, s3: str) -> None:
    for block in ("e2e-key-id", "e2e-key"):
        orchestra.keep_secret(block, f"{block}-value")
    secrets = {"AWS_ACCESS_KEY_ID": "e2e-key-id", "AWS_SECRET_ACCESS_KEY": "e2e-key"}
    bucket = {"DATA_BUCKET_NAME": "data", "DATA_BUCKET_STORE_TYPE": "s3", "AWS_ENDPOINT_URL": s3}
    run = orchestra.pipeline(envs=bucket, secrets=secrets)
    assert run.verdict(within=300) == "Completed"
    assert_trained_well(cloud, run.result)
    run.assert_says("s3://data/")


def assert_trained_well(cloud: Cloud, result: Any) -> None:
    """One job for each step, on a cluster for the data and another for train and eval together, and an accuracy worth deploying."""
    assert result["accuracy"] > 0.95
    steps = result["steps"]
    assert [steps[name]["status"] for name in STEPS] == ["SUCCEEDED"] * 3
    assert [steps[name]["job_id"] for name in STEPS] == [1, 1, 2]
    clusters = {steps[name]["cluster_name"] for name in steps}
    assert len(clusters) == 2
    for cluster in clusters:
        cloud.assert_nothing_left(cluster.rsplit("-", 1)[1])
