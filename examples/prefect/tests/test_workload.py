"""The three steps on a folder and on S3, their resumption after a kill, and what they say when something is wrong."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from workload import bucket, step
from workload.arrays import unpack
from workload.bucket import bucket_url
from workload.errors import BucketError, InaccurateError, MissingObjectError, SettingError, WorkloadError
from workload.evaluate import evaluate
from workload.network import WEIGHTS
from workload.preprocess import preprocess
from workload.settings import Settings, load_settings
from workload.train import train

ROOT = Path(__file__).parents[1]

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


# The steps, on a folder.


def test_the_three_steps_with_the_default_settings_read_more_than_95_percent_right(tmp_path: Path, outputs: Outputs) -> None:
    defaults = load_settings({"DATA_BUCKET_URL": f"file://{tmp_path}"})
    for run_step in (preprocess, train, evaluate):
        run_step(defaults)
    result = outputs()
    assert result["accuracy"] > 0.95
    assert result["train_rows"] + result["validation_rows"] + result["test_rows"] == 1797
    assert len(result["loss_history"]) == result["epochs"] == 30
    assert result["loss_history"][-1] == result["final_loss"] < result["loss_history"][0]
    assert (
        result["model_url"] == result["evaluated_model_url"] == f"file://{tmp_path}/default/models/epochs30-lr0.1-batch32-seed0/model.npz"
    )


def test_the_same_settings_give_the_same_model_and_another_seed_another_one(settings: Pipeline) -> None:
    models = []
    for run, seed in (("first", "0"), ("second", "0"), ("third", "1")):
        chosen = settings(RUN_NAME=run, SEED=seed)
        preprocess(chosen)
        train(chosen)
        models.append(weights(chosen))
    assert same_weights(models[0], models[1])
    assert not same_weights(models[0], models[2])


def test_normalisation_takes_nothing_from_the_test_rows(settings: Pipeline) -> None:
    preprocess(settings())
    stored = np.load(Path(settings().data_url.removeprefix("file://")), allow_pickle=False)
    moving = stored["x_train"].std(axis=0) > 0
    np.testing.assert_allclose(stored["x_train"].mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(stored["x_train"].std(axis=0)[moving], 1, atol=1e-3)
    assert not np.allclose(stored["x_test"].mean(axis=0), 0, atol=1e-3)


def test_trials_and_runs_in_one_bucket_keep_apart(settings: Pipeline) -> None:
    others = [
        ("LEARNING_RATE", "0.2"),
        ("LEARNING_RATE", "0.2000001"),
        ("BATCH_SIZE", "64"),
        ("EPOCHS", "7"),
        ("SEED", "1"),
        ("RUN_NAME", "b"),
    ]
    urls = {settings().model_url, *(settings(**{name: value}).model_url for name, value in others)}
    assert len(urls) == 7


def test_a_model_below_the_asked_accuracy_fails_the_step_after_telling_the_accuracy(settings: Pipeline, outputs: Outputs) -> None:
    slow = settings(LEARNING_RATE="0.0001")
    preprocess(slow)
    train(slow)
    with pytest.raises(InaccurateError, match=r"is below MIN_ACCURACY 0\.95"):
        evaluate(slow)
    assert outputs()["accuracy"] < 0.95
    evaluate(settings(LEARNING_RATE="0.0001", MIN_ACCURACY="0"))


def test_evaluate_judges_the_model_it_is_pointed_to(settings: Pipeline, outputs: Outputs) -> None:
    preprocess(settings())
    train(settings())
    url = outputs()["model_url"]
    evaluate(settings(EPOCHS="999", MIN_ACCURACY="0.5", MODEL_URL=url))
    assert outputs()["evaluated_model_url"] == url


def test_a_batch_larger_than_the_data_is_all_of_the_data(settings: Pipeline, recwarn: pytest.WarningsRecorder) -> None:
    preprocess(settings())
    train(settings(BATCH_SIZE="5000"))
    assert not recwarn.list


# Resumption.


def test_training_killed_midway_resumes_from_its_checkpoint_and_ends_in_the_very_same_model(settings: Pipeline, outputs: Outputs) -> None:
    killed, unharmed = (settings(RUN_NAME=run, EPOCHS="120", BATCH_SIZE="512") for run in ("killed", "unharmed"))
    preprocess(killed)
    preprocess(unharmed)
    environ = {**os.environ, "DATA_BUCKET_URL": killed.bucket, "RUN_NAME": "killed", "EPOCHS": "120", "BATCH_SIZE": "512"}
    # With so small a pipe the training cannot run ahead of its reader by more than a hundred lines.
    with subprocess.Popen(
        [sys.executable, "-m", "workload.train"], cwd=ROOT, env=environ, stdout=subprocess.PIPE, bufsize=0, pipesize=4096
    ) as process:
        assert process.stdout is not None
        while b"epoch 12/120" not in process.stdout.readline():
            assert process.poll() is None
        process.kill()
    outputs()
    train(killed)
    resumed = outputs()
    train(unharmed)
    whole = outputs()
    assert 10 <= resumed["resumed_from_epoch"] < 120
    assert whole["resumed_from_epoch"] == 0
    assert resumed["loss_history"] == whole["loss_history"]
    assert same_weights(weights(killed), weights(unharmed))


def test_a_finished_training_started_again_does_nothing_anew(settings: Pipeline, outputs: Outputs) -> None:
    preprocess(settings())
    train(settings())
    first = outputs()
    train(settings())
    second = outputs()
    assert second["resumed_from_epoch"] == 6
    assert second["loss_history"] == first["loss_history"]


def test_a_checkpoint_of_other_data_is_not_taken_up(settings: Pipeline, outputs: Outputs) -> None:
    preprocess(settings())
    train(settings())
    bucket.write(settings().data_url, bucket.read(_with_other_data(settings).data_url))
    train(settings())
    assert outputs()["resumed_from_epoch"] == 0


def _with_other_data(settings: Pipeline) -> Settings:
    other = settings(RUN_NAME="other", SEED="1")
    preprocess(other)
    return other


def test_a_damaged_checkpoint_is_told_and_started_over(settings: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    preprocess(settings())
    bucket.write(settings().checkpoint_url, b"half a checkpo")
    train(settings())
    assert "starting afresh: " in capsys.readouterr().out


def test_checkpoints_are_as_far_apart_as_asked(settings: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    preprocess(settings())
    written: list[str] = []
    write = bucket.write
    monkeypatch.setattr(bucket, "write", lambda url, data: (written.append(url), write(url, data)))
    train(settings(CHECKPOINT_EVERY="4"))
    assert written == [settings().checkpoint_url, settings().checkpoint_url, settings().model_url]


def test_a_write_that_breaks_off_leaves_the_older_object_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"file://{tmp_path}/object"
    bucket.write(url, b"old")

    def full(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(BucketError, match="No space left on device"):
        bucket.write(url, b"new")
    assert bucket.read(url) == b"old"


# S3.


def test_the_three_steps_run_on_s3(s3: str, outputs: Outputs) -> None:
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


# Settings.


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"DATA_BUCKET_URL": "s3://b"}, "s3://b"),
        ({"DATA_BUCKET_URL": " gs://b/c/ "}, "gs://b/c"),
        ({"DATA_BUCKET_URL": "az://container/folder"}, "az://container/folder"),
        ({"DATA_BUCKET_URL": "abfs://container@account.dfs.core.windows.net/x"}, "abfs://container@account.dfs.core.windows.net/x"),
        ({"DATA_BUCKET_URL": "r2://b"}, "r2://b"),
        ({"DATA_BUCKET_URL": "file:///srv/data"}, "file:///srv/data"),
        ({"DATA_BUCKET_NAME": "b", "DATA_BUCKET_STORE_TYPE": "s3"}, "s3://b"),
        ({"DATA_BUCKET_NAME": "b", "DATA_BUCKET_STORE_TYPE": "gcs"}, "gs://b"),
        ({"DATA_BUCKET_NAME": "b", "DATA_BUCKET_STORE_TYPE": "AZURE"}, "az://b"),
        ({"DATA_BUCKET_NAME": "b", "DATA_BUCKET_STORE_TYPE": "r2"}, "r2://b"),
        ({"DATA_BUCKET_URL": "s3://a", "DATA_BUCKET_NAME": "b", "DATA_BUCKET_STORE_TYPE": "gcs"}, "s3://a"),
        ({"DATA_BUCKET_URL": "", "DATA_BUCKET_NAME": ""}, "file:///home/someone/sky-data"),
    ],
)
def test_the_bucket_is_named_by_url_or_by_name_and_store_type(environ: dict[str, str], url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert bucket_url(environ) == url


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"DATA_BUCKET_URL": "ftp://b"}, r"DATA_BUCKET_URL is 'ftp://b': it starts with s3://"),
        ({"DATA_BUCKET_URL": "my-bucket"}, r"DATA_BUCKET_URL is 'my-bucket': it starts with s3://"),
        ({"DATA_BUCKET_URL": "s3://"}, r"it starts with s3://"),
        ({"DATA_BUCKET_URL": "file://folder"}, r"a folder is file:/// and its absolute path"),
        ({"DATA_BUCKET_URL": "s3://a b"}, r"it starts with s3://"),
        ({"DATA_BUCKET_URL": "simplecache::s3://b"}, r"it starts with s3://"),
        ({"DATA_BUCKET_URL": "s3://key:hunter2@b"}, r"DATA_BUCKET_URL has credentials in it"),
        ({"DATA_BUCKET_NAME": "b"}, r"DATA_BUCKET_STORE_TYPE is '': .* s3, gcs, azure, r2"),
        ({"DATA_BUCKET_NAME": "b", "DATA_BUCKET_STORE_TYPE": "floppy"}, r"DATA_BUCKET_STORE_TYPE is 'floppy'"),
        ({"EPOCHS": "many"}, r"EPOCHS is 'many': a whole number from 1 to 100000"),
        ({"EPOCHS": "0"}, r"EPOCHS is '0'"),
        ({"EPOCHS": "1.5"}, r"EPOCHS is '1\.5': a whole number"),
        ({"LEARNING_RATE": "nan"}, r"LEARNING_RATE is 'nan': a number from"),
        ({"LEARNING_RATE": "-1"}, r"LEARNING_RATE is '-1'"),
        ({"BATCH_SIZE": "0"}, r"BATCH_SIZE is '0'"),
        ({"SEED": "-1"}, r"SEED is '-1'"),
        ({"MIN_ACCURACY": "95"}, r"MIN_ACCURACY is '95': a number from 0 to 1"),
        ({"CHECKPOINT_EVERY": "x"}, r"CHECKPOINT_EVERY is 'x'"),
        ({"RUN_NAME": "../up"}, r"RUN_NAME is '\.\./up'"),
        ({"MODEL_URL": "model.npz"}, r"MODEL_URL is 'model\.npz'"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it_and_what_is_right(environ: dict[str, str], told: str) -> None:
    with pytest.raises(SettingError, match=told) as caught:
        load_settings(environ)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_an_empty_variable_is_a_variable_not_set() -> None:
    names = "EPOCHS LEARNING_RATE BATCH_SIZE SEED RUN_NAME MIN_ACCURACY MODEL_URL DATA_BUCKET_URL DATA_BUCKET_NAME DATA_BUCKET_STORE_TYPE"
    assert load_settings(dict.fromkeys(names.split(), "")) == load_settings({})


def test_empty_secrets_of_the_task_do_not_count_as_credentials() -> None:
    environ = {"AWS_ACCESS_KEY_ID": "", "AWS_REGION": "eu-west-1", "AZURE_STORAGE_ACCOUNT_KEY": "", "EPOCHS": ""}
    bucket.forget_empty_credentials(environ)
    assert environ == {"AWS_REGION": "eu-west-1", "EPOCHS": ""}


# What a step says when something is missing.


def test_training_without_data_says_which_step_to_run_first(settings: Pipeline) -> None:
    with pytest.raises(MissingObjectError, match=r"no training data at file://.*: run tasks/data_preprocessing\.yaml first"):
        train(settings())


def test_evaluating_without_a_model_says_which_step_to_run_first(settings: Pipeline) -> None:
    preprocess(settings())
    with pytest.raises(MissingObjectError, match=r"no model at file://.*: run tasks/train\.yaml first"):
        evaluate(settings())


def test_a_learning_rate_that_diverges_is_named(settings: Pipeline) -> None:
    preprocess(settings())
    with pytest.raises(WorkloadError, match=r"the training diverged in epoch \d+: choose a smaller LEARNING_RATE"):
        train(settings(LEARNING_RATE="100"))


def test_data_with_a_pickle_in_it_is_refused(settings: Pipeline) -> None:
    bucket.write(settings().data_url, np.array([{"run": "me"}], dtype=object).dumps())
    with pytest.raises(WorkloadError, match=r"is no \.npz file, or damaged"):
        train(settings())


def test_a_failing_step_exits_with_1_and_one_line(
    settings: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATA_BUCKET_URL", settings().bucket)
    monkeypatch.setattr(logging, "disable", lambda level: None)
    with pytest.raises(SystemExit) as ended:
        step.run(train)
    assert ended.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: no training data at ")
