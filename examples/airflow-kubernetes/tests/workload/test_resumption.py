"""A training that was killed goes on from its checkpoint."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workload.conftest import Outputs, Pipeline, same_weights, weights
from workload import bucket
from workload.errors import BucketError
from workload.preprocess import preprocess
from workload.settings import Settings
from workload.train import train

ROOT = Path(__file__).parents[2]


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
