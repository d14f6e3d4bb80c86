"""The steps on S3, and what the other stores ask for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.workload.conftest import Outputs
from workload import bucket
from workload.errors import BucketError, SettingError
from workload.evaluate import evaluate
from workload.preprocess import preprocess
from workload.settings import load_settings
from workload.train import train


def test_the_three_steps_run_on_s3(s3: str, outputs: Outputs) -> None:
    import boto3

    on_s3 = load_settings({"DATA_BUCKET_URL": "s3://digits/folder", "RUN_NAME": "run-1"})
    for run_step in (preprocess, train, evaluate):
        run_step(on_s3)
    assert outputs()["accuracy"] > 0.95
    client = boto3.client("s3", endpoint_url=s3, region_name="us-east-1")
    assert [item["Key"] for item in client.list_objects_v2(Bucket="digits")["Contents"]] == [
        "folder/run-1/data/digits.npz",
        "folder/run-1/models/epochs30-lr0.1-batch32-seed0/checkpoint.npz",
        "folder/run-1/models/epochs30-lr0.1-batch32-seed0/model.npz",
    ]
    train(load_settings({"DATA_BUCKET_NAME": "digits/folder", "DATA_BUCKET_STORE_TYPE": "S3", "RUN_NAME": "run-1"}))
    assert outputs()["resumed_from_epoch"] == 30


def test_an_r2_bucket_is_s3_at_the_accounts_endpoint(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.write("r2://digits/object", b"data")
    assert bucket.read("s3://digits/object") == b"data"
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    with pytest.raises(SettingError, match="R2_ACCOUNT_ID"):
        bucket.read("r2://digits/object")


def test_an_azure_container_wants_its_account() -> None:
    with pytest.raises(SettingError, match=r"az:// wants the account: set AZURE_STORAGE_ACCOUNT_NAME or AZURE_STORAGE_CONNECTION_STRING"):
        bucket.read("az://container/object")


def test_a_store_whose_package_is_not_installed_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(BucketError, match=r"gs:// needs a package that is not installed: install workload/requirements/gs\.txt"):
        bucket.read("gs://bucket/object")


def test_a_bucket_that_does_not_exist_is_one_line(s3: str) -> None:
    with pytest.raises(BucketError, match=r"cannot write s3://nowhere/object: .*bucket does not exist"):
        bucket.write("s3://nowhere/object", b"data")


def test_an_error_never_holds_the_value_of_a_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2hunter2")

    def refuse(path: Path, data: bytes) -> int:
        raise OSError("signature of hunter2hunter2 is wrong")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(BucketError) as caught:
        bucket.write(f"file://{tmp_path}/object", b"data")
    assert "hunter2" not in str(caught.value)
