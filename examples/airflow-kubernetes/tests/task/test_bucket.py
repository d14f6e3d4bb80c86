"""A task that asks for a bucket gets the project's."""

from __future__ import annotations

from sky_orchestrate.settings import Settings
from tests.task.conftest import RUN, refused, text

BUCKET = f"envs: {{DATA_BUCKET_URL: ''}}\n{RUN}"


def test_a_task_that_asks_for_a_bucket_gets_the_projects(settings: Settings) -> None:
    here = Settings(settings.root, "x", "x", bucket="s3://ours")
    assert text(here, BUCKET).config["envs"]["DATA_BUCKET_URL"] == "s3://ours"
    assert text(here, f"envs: {{DATA_BUCKET_URL: }}\n{RUN}").config["envs"]["DATA_BUCKET_URL"] == "s3://ours"
    assert text(here, f"envs: {{DATA_BUCKET_URL: 's3://own'}}\n{RUN}").config["envs"]["DATA_BUCKET_URL"] == "s3://own"
    assert text(here, BUCKET, envs={"DATA_BUCKET_URL": "gs://given"}).config["envs"]["DATA_BUCKET_URL"] == "gs://given"
    assert "envs" not in text(here, RUN).config


def test_the_guides_name_and_store_type_are_understood(settings: Settings) -> None:
    guides = f"envs: {{DATA_BUCKET_NAME: '', DATA_BUCKET_STORE_TYPE: s3}}\n{RUN}"
    here = Settings(settings.root, "x", "x", bucket="gs://ours/folder")
    assert text(here, guides).config["envs"] == {"DATA_BUCKET_NAME": "ours", "DATA_BUCKET_STORE_TYPE": "gcs"}
    both = f"envs: {{DATA_BUCKET_URL: '', DATA_BUCKET_NAME: '', DATA_BUCKET_STORE_TYPE: ''}}\n{RUN}"
    given = text(settings, both, envs={"DATA_BUCKET_NAME": "given", "DATA_BUCKET_STORE_TYPE": "gcs"})
    assert given.config["envs"]["DATA_BUCKET_URL"] == "gs://given"


def test_on_the_local_skypilot_a_folder_is_the_bucket(settings: Settings) -> None:
    here = Settings(settings.root, "x", "x", local=True)
    assert text(here, BUCKET).config["envs"]["DATA_BUCKET_URL"] == f"file://{settings.root}/.local/bucket"


def test_elsewhere_a_missing_bucket_is_refused_with_the_line_to_set(settings: Settings) -> None:
    told = refused(settings, BUCKET)
    assert told.field == "envs.DATA_BUCKET_URL"
    assert "DATA_BUCKET_URL=s3://my-bucket/folder in .env" in told.cure
    assert "is no bucket" in str(refused(settings, BUCKET, envs={"DATA_BUCKET_URL": "my-bucket"}))
