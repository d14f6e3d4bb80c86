"""A worker's settings: what the environment and .env say, and what a wrong value is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from sky_orchestrate.errors import SettingsError
from sky_orchestrate.settings import Settings
from temporal.messages import TASK_QUEUE
from temporal.worker_settings import WorkerSettings, worker_settings


def of(**variables: str) -> WorkerSettings:
    return worker_settings(Settings(root=Path(), slug="proj", owner="proj", variables=variables))


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "TASK_QUEUE",
        "MAX_ACTIVITIES",
        "MAX_WORKFLOW_TASKS",
        "MAX_CACHED_WORKFLOWS",
        "SHUTDOWN_SECONDS",
        "METRICS_ADDRESS",
        "HEALTH_ADDRESS",
        "WORKER_BUILD_ID",
    ):
        monkeypatch.delenv(f"TEMPORAL_{name}", raising=False)


def test_without_variables_the_defaults_hold() -> None:
    assert of() == WorkerSettings()
    assert of().task_queue == TASK_QUEUE


def test_each_setting_is_read_from_its_variable() -> None:
    assert of(
        TEMPORAL_TASK_QUEUE="gpus",
        TEMPORAL_MAX_ACTIVITIES="7",
        TEMPORAL_MAX_WORKFLOW_TASKS="5",
        TEMPORAL_MAX_CACHED_WORKFLOWS="9",
        TEMPORAL_SHUTDOWN_SECONDS="0",
        TEMPORAL_METRICS_ADDRESS="127.0.0.1:9464",
        TEMPORAL_HEALTH_ADDRESS="0.0.0.0:8080",
        TEMPORAL_WORKER_BUILD_ID="abc123",
    ) == WorkerSettings("gpus", 7, 5, 9, 0.0, "127.0.0.1:9464", "0.0.0.0:8080", "abc123")


def test_the_environment_comes_before_the_env_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_TASK_QUEUE", "from-environment")
    assert of(TEMPORAL_TASK_QUEUE="from-file").task_queue == "from-environment"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TEMPORAL_MAX_ACTIVITIES", "many"),
        ("TEMPORAL_MAX_ACTIVITIES", "0"),
        ("TEMPORAL_MAX_ACTIVITIES", "-1"),
        ("TEMPORAL_MAX_ACTIVITIES", "10000000"),
        ("TEMPORAL_MAX_WORKFLOW_TASKS", "1"),
        ("TEMPORAL_SHUTDOWN_SECONDS", "1.5"),
        ("TEMPORAL_METRICS_ADDRESS", "9464"),
        ("TEMPORAL_METRICS_ADDRESS", "http://127.0.0.1:9464"),
        ("TEMPORAL_HEALTH_ADDRESS", "127.0.0.1:"),
        ("TEMPORAL_HEALTH_ADDRESS", "127.0.0.1:99999"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as told:
        of(**{name: value})
    assert name in str(told.value)
    assert value in str(told.value)
    assert "\n" not in str(told.value)
