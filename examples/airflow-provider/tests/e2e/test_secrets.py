"""Rule 10: a secret reaches the job, and stands nowhere else."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.cloud import Cloud
from tests.e2e.jobs import Job
from tests.e2e.orchestra import Orchestra, Run

pytestmark = pytest.mark.e2e


def test_rule_10_a_secret_is_in_no_database_log_parameter_or_result(
    cloud: Cloud, orchestra: Orchestra, job: Job, run_step: Callable[..., Run]
) -> None:
    value = f"s3cr3t-{uuid.uuid4().hex}"
    orchestra.keep_secret("e2e-token", value)
    # The job says it aloud, in its output too, and then fails: its last lines become the error's text.
    digest = hashlib.sha256(value.encode()).hexdigest()
    said = 'echo "token $TOKEN"; echo "::sky-output::{\\"token\\": \\"$TOKEN\\"}"; exit 3'
    job = replace(job, run=f"printf %s $TOKEN | sha256sum | grep -q {digest}\n{said}")
    run = run_step(job, secrets={"TOKEN": "e2e-token"})
    assert run.verdict(within=180) == "Failed"
    assert job.began == 1
    run.assert_says("exit code 3")
    run.assert_says("token ")
    assert value not in run.record
    assert holding(value, orchestra.household.folder) == []
    cloud.assert_nothing_left(job.name)


def holding(value: str, folder: Path) -> list[str]:
    """The files under `folder` that hold the value: the orchestrator's database and results, the logs, the client's home."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and value.encode() in path.read_bytes()]
