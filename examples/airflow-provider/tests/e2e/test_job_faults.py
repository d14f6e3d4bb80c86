"""The job, its task file or its cluster fails, or somebody ends it: the run says so, and nothing is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.e2e.cloud import Cloud
from tests.e2e.jobs import Job
from tests.e2e.orchestra import Run
from tests.e2e.processes import PATIENCE, until

pytestmark = pytest.mark.e2e


def test_rule_02_a_failing_setup_is_a_failed_run(cloud: Cloud, job: Job, run_step: Callable[..., Run]) -> None:
    job = replace(job, setup="echo no such package; exit 4")
    run = run_step(job)
    assert run.verdict(within=150) == "Failed"
    run.assert_says("no such package")
    assert job.began == 0
    assert cloud.submissions(job.name) == 1
    cloud.assert_nothing_left(job.name)


def test_a_broken_task_file_is_told_at_once_and_submits_nothing(cloud: Cloud, job: Job, run_step: Callable[..., Run]) -> None:
    job = replace(job, more="resourcez: {cpus: 2}")
    run = run_step(job, retries=2)
    assert run.verdict(within=60) == "Failed"
    run.assert_says("resourcez")
    assert not run.retried
    assert cloud.submissions(job.name) == 0
    cloud.assert_nothing_left(job.name)


def test_rule_07_a_job_over_its_run_limit_is_taken_down_and_not_retried(cloud: Cloud, job: Job, run_step: Callable[..., Run]) -> None:
    job = job.gated()
    run = run_step(job, retries=2, run_timeout=5)
    assert run.verdict(within=180) == "Failed"
    run.assert_says("longer than its limit of 5 s")
    assert (job.began, job.ended) == (1, 0)
    assert cloud.submissions(job.name) == 1
    cloud.assert_nothing_left(job.name)


@pytest.mark.parametrize("by", ["scancel", "sky down"])
def test_rule_08_a_cluster_lost_mid_run_is_told_and_the_job_runs_again(
    cloud: Cloud, job: Job, run_step: Callable[..., Run], by: str
) -> None:
    job = job.gated()
    run = run_step(job, retries=1)
    until("the job has begun", lambda: job.began, within=120)
    if by == "scancel":
        cloud.scancel(job.name)
    else:
        cloud.down(job.name)
    # Not sooner: the lost job might end before the signal reaches it.
    until("the job runs again", lambda: job.began == 2, within=240)
    job.open_gate()
    assert run.verdict(within=120) == "Completed"
    run.assert_says("preempted, evicted or taken down by somebody")
    assert (job.began, job.ended) == (2, 1)
    assert cloud.submissions(job.name) == 2
    cloud.assert_nothing_left(job.name)


def test_rule_01_two_runs_at_once_do_not_share_a_cluster(cloud: Cloud, job: Job, run_step: Callable[..., Run]) -> None:
    job = job.gated()
    runs = [run_step(job), run_step(job)]
    until("both jobs have begun", lambda: job.began == 2, within=240)
    assert len(cloud.clusters(job.name)) == 2
    job.open_gate()
    assert [run.verdict(within=180) for run in runs] == ["Completed", "Completed"]
    assert (job.began, job.ended) == (2, 2)
    assert cloud.submissions(job.name) == 2
    cloud.assert_nothing_left(job.name)


def test_rule_06_a_users_cancel_mid_launch_takes_the_cluster_down(cloud: Cloud, job: Job, run_step: Callable[..., Run]) -> None:
    run = run_step(job.gated(), retries=1)
    until("Slurm has given the cluster its allocation", lambda: cloud.allocations(job.name), within=120)
    run.cancel()
    cancelled_at = time.monotonic()
    until("the cluster is gone", lambda: not cloud.left(job.name), within=60)
    assert time.monotonic() - cancelled_at < 30 * PATIENCE
    assert run.verdict(within=60) == "Cancelled"
    assert job.ended == 0
    assert cloud.submissions(job.name) == 1
    cloud.assert_nothing_left(job.name)
