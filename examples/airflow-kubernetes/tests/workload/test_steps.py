"""The three steps on a folder: what they compute, and that runs keep apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.workload.conftest import Outputs, Pipeline, same_weights, weights
from workload.errors import InaccurateError
from workload.evaluate import evaluate
from workload.preprocess import preprocess
from workload.settings import load_settings
from workload.train import train


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
