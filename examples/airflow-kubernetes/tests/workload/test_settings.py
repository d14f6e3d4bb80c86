"""What the environment sets, and the one line about what it sets wrongly."""

from __future__ import annotations

import pytest

from workload import bucket
from workload.bucket import bucket_url
from workload.errors import SettingError
from workload.settings import load_settings


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
