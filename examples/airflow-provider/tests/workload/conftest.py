"""The workload's settings on a folder or S3 of the test, and what its steps put out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workload import bucket
from workload.arrays import unpack
from workload.network import WEIGHTS
from workload.settings import Settings, load_settings

Pipeline = Callable[..., Settings]
Outputs = Callable[[], dict[str, Any]]


@pytest.fixture
def settings(tmp_path: Path) -> Pipeline:
    """Settings on a folder of this test, with a short training."""

    def make(**environ: str) -> Settings:
        return load_settings({"DATA_BUCKET_URL": f"file://{tmp_path}/bucket", "EPOCHS": "6", "BATCH_SIZE": "128", **environ})

    return make


@pytest.fixture
def outputs(capsys: pytest.CaptureFixture[str]) -> Outputs:
    """What the steps put out since it was last asked."""

    def read() -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for line in capsys.readouterr().out.splitlines():
            if line.startswith("::sky-output::"):
                merged |= json.loads(line.removeprefix("::sky-output::"))
        return merged

    return read


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """The endpoint of an S3 server with the bucket `digits`."""
    # Each of the tests' processes reads this file, and few of them run these tests.
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1")
    client.create_bucket(Bucket="digits")
    yield endpoint
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same, with endpoint and credentials in the environment, as on a cluster."""
    for name, value in {"AWS_ENDPOINT_URL": s3_server, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}.items():
        monkeypatch.setenv(name, value)
    return s3_server


def weights(settings: Settings) -> dict[str, Any]:
    return unpack(bucket.read(settings.model_url), settings.model_url, WEIGHTS)


def same_weights(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in WEIGHTS)
