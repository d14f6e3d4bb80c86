"""What stands for all of e2e: the pipeline, a job that fails, a worker that is killed, a user's cancel."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.cloud import Cloud
from tests.e2e.jobs import Job
from tests.e2e.orchestra import Orchestra, Run
from tests.e2e.processes import PATIENCE, until

pytestmark = [pytest.mark.e2e, pytest.mark.smoke]


def test_rule_02_a_failing_job_is_a_failed_run_with_one_job_per_attempt(cloud: Cloud, job: Job, run_step: Callable[..., Run]) -> None:
    job = replace(job, run="echo the disk is full; exit 3")
    run = run_step(job, retries=1)
    assert run.verdict(within=240) == "Failed"
    assert job.began == 2
    assert cloud.submissions(job.name) == 2
    run.assert_says("exit code 3")
    run.assert_says("the disk is full")
    cloud.assert_nothing_left(job.name)


def test_rule_05_kill_9_of_the_worker_mid_run_and_a_new_attempt_elsewhere_attaches(
    cloud: Cloud, orchestra: Orchestra, job: Job, run_step: Callable[..., Run], tmp_path: Path
) -> None:
    job = job.gated()
    run = run_step(job)
    until("the job has begun", lambda: job.began, within=120)
    orchestra.kill_worker()
    (tmp_path / "other-home").mkdir()
    orchestra.next_attempt(run, home=tmp_path / "other-home")
    until("the new attempt has attached", lambda: run.says("attached to job 1"), within=120)
    job.open_gate()
    assert run.verdict(within=120) == "Completed"
    assert (job.began, job.ended) == (1, 1)
    assert cloud.submissions(job.name) == 1
    cloud.assert_nothing_left(job.name)


def test_rule_06_a_users_cancel_mid_run_takes_the_cluster_down(cloud: Cloud, job: Job, run_step: Callable[..., Run]) -> None:
    job = job.gated()
    run = run_step(job, retries=1)
    until("the job has begun", lambda: job.began, within=120)
    run.cancel()
    cancelled_at = time.monotonic()
    until("the cluster is gone", lambda: not cloud.left(job.name), within=60)
    assert time.monotonic() - cancelled_at < 30 * PATIENCE
    assert run.verdict(within=60) == "Cancelled"
    assert (job.began, job.ended) == (1, 0)
    assert cloud.submissions(job.name) == 1
    cloud.assert_nothing_left(job.name)
