"""The worker goes away: the cluster stays for the next attempt, which attaches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.e2e.cloud import Cloud
from tests.e2e.jobs import Job
from tests.e2e.orchestra import Orchestra, Run
from tests.e2e.processes import until

pytestmark = pytest.mark.e2e


def test_rule_01_kill_9_of_the_worker_mid_launch_and_a_new_attempt_makes_one_job(
    cloud: Cloud, orchestra: Orchestra, job: Job, run_step: Callable[..., Run]
) -> None:
    run = run_step(job)
    until("the launch is under way", lambda: cloud.asked(job.name, "launch"), within=90)
    orchestra.kill_worker()
    assert job.began == 0
    orchestra.next_attempt(run)
    assert run.verdict(within=240) == "Completed"
    assert (job.began, job.ended) == (1, 1)
    assert cloud.submissions(job.name) == 1
    cloud.assert_nothing_left(job.name)


def test_rule_01_a_job_that_ended_while_the_worker_was_away_is_adopted(
    cloud: Cloud, orchestra: Orchestra, job: Job, run_step: Callable[..., Run]
) -> None:
    job = replace(job, run="echo '::sky-output::{\"accuracy\": 0.97}'").gated()
    run = run_step(job)
    until("the job has begun", lambda: job.began, within=120)
    orchestra.kill_worker()
    job.open_gate()
    until("the job has ended", lambda: job.ended, within=30)
    orchestra.next_attempt(run)
    assert run.verdict(within=120) == "Completed"
    assert (job.began, job.ended) == (1, 1)
    assert cloud.submissions(job.name) == 1
    cloud.assert_nothing_left(job.name)


@pytest.mark.deadline(600)
def test_rule_08_autodown_while_the_worker_is_away_leaves_nothing_and_the_next_attempt_runs_it_again(
    cloud: Cloud, orchestra: Orchestra, job: Job, run_step: Callable[..., Run]
) -> None:
    job = job.gated()
    run = run_step(job, retries=1, environ={"SKY_ORCHESTRATE_IDLE_MINUTES": "1"})
    until("the job has begun", lambda: job.began, within=120)
    orchestra.kill_worker()
    job.open_gate()
    until("autodown has taken the cluster", lambda: not cloud.allocations(job.name), within=240)
    orchestra.next_attempt(run)
    assert run.verdict(within=240) == "Completed"
    assert (job.began, job.ended) == (2, 2)
    assert cloud.submissions(job.name) == 2
    cloud.assert_nothing_left(job.name)
