"""Errors cross process borders: orchestrators pickle them."""

from __future__ import annotations

import pickle

import pytest

from sky_orchestrate import errors

FAILED = errors.SkyJobFailed(cluster_name="sky-train-1", job_id=1, status="FAILED", exit_code=3, log_tail=("one", "two"))


def every_kind(kind: type[errors.SkyOrchestrateError] = errors.SkyOrchestrateError) -> list[type[errors.SkyOrchestrateError]]:
    return [kind, *(below for direct in kind.__subclasses__() for below in every_kind(direct))]


def sample(kind: type[errors.SkyOrchestrateError]) -> errors.SkyOrchestrateError:
    if issubclass(kind, errors.SkyJobFailed):
        return kind(cluster_name="sky-train-1", job_id=1, status="FAILED", exit_code=3, log_tail=("one", "two"))
    if issubclass(kind, errors.TaskFileError):
        return kind("train.yaml", "run", "is missing", "add it")
    return kind("something is wrong; do this")


@pytest.mark.parametrize("kind", every_kind(), ids=lambda kind: kind.__name__)
def test_every_error_survives_pickling(kind: type[errors.SkyOrchestrateError]) -> None:
    error = sample(kind)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_rule_02_a_failed_job_tells_its_exit_code_and_its_last_lines() -> None:
    assert "exit code 3" in str(FAILED)
    assert str(FAILED).endswith("one\n  two")
