"""What a step says when something is missing or wrong."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from tests.workload.conftest import Pipeline
from workload import bucket, step
from workload.errors import MissingObjectError, WorkloadError
from workload.evaluate import evaluate
from workload.preprocess import preprocess
from workload.train import train


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
