"""What only Temporal does: workers that share a queue and take over from each other, its server's restart, and terminated workflows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.cloud import Cloud
from tests.e2e.jobs import Job
from tests.e2e.orchestra import Orchestra, Run
from tests.e2e.processes import until

pytestmark = pytest.mark.e2e


def test_rule_05_a_redeploy_mid_run_hands_the_job_over(cloud: Cloud, orchestra: Orchestra, job: Job, run_step: Callable[..., Run]) -> None:
    job = job.gated()
    run = run_step(job)
    until("the job has begun", lambda: job.began, within=120)
    orchestra.stop_worker()
    assert cloud.allocations(job.name)
    orchestra.start_worker()
    # At once, and not when a heartbeat is missed.
    until("the new worker has attached", lambda: run.says("attached to job 1"), within=30)
    job.open_gate()
    assert run.verdict(within=120) == "Completed"
    assert (job.began, job.ended) == (1, 1)
    assert cloud.submissions(job.name) == 1
    cloud.assert_nothing_left(job.name)


def test_rule_03_kill_9_of_the_worker_mid_teardown_leaves_nothing(
    cloud: Cloud, orchestra: Orchestra, job: Job, run_step: Callable[..., Run]
) -> None:
    run = run_step(job)
    until("the teardown is under way", lambda: cloud.asked(job.name, "down"), within=180)
    orchestra.kill_worker()
    orchestra.start_worker()
    assert run.verdict(within=180) == "Completed"
    assert (job.began, job.ended) == (1, 1)
    assert cloud.submissions(job.name) == 1
    cloud.assert_nothing_left(job.name)


def test_a_restart_of_temporals_server_mid_run_changes_nothing(
    cloud: Cloud, orchestra: Orchestra, job: Job, run_step: Callable[..., Run]
) -> None:
    job = job.gated()
    run = run_step(job)
    until("the job has begun", lambda: job.began, within=120)
    orchestra.restart_server()
    job.open_gate()
    assert run.verdict(within=240) == "Completed"
    assert (job.began, job.ended) == (1, 1)
    assert cloud.submissions(job.name) == 1
    cloud.assert_nothing_left(job.name)


def test_rule_04_the_reaper_takes_the_cluster_of_a_terminated_workflow(
    cloud: Cloud, orchestra: Orchestra, job: Job, run_step: Callable[..., Run]
) -> None:
    job = job.gated()
    run = run_step(job)
    until("the job has begun", lambda: job.began, within=120)
    run.terminate()
    assert run.verdict(within=30) == "Terminated"
    assert cloud.allocations(job.name)
    reaper = orchestra.reap()
    assert reaper.verdict(within=120) == "Completed"
    reaper.assert_says("taken down")
    assert (job.began, job.ended) == (1, 0)
    assert cloud.submissions(job.name) == 1
    cloud.assert_nothing_left(job.name)


@pytest.mark.deadline(900)
def test_rule_15_two_workers_share_eight_tasks_at_once(cloud: Cloud, orchestra: Orchestra, job: Job, run_step: Callable[..., Run]) -> None:
    second = orchestra.household.start("run_worker.py", log="worker")
    jobs = [Job(job.folder).gated() for _ in range(8)]
    runs = [run_step(one) for one in jobs]
    until("all eight run at once", lambda: all(one.began for one in jobs), within=600)
    assert not any(one.ended for one in jobs)
    for one in jobs:
        one.open_gate()
    assert [run.verdict(within=240) for run in runs] == ["Completed"] * 8
    for one in jobs:
        assert (one.began, one.ended) == (1, 1)
        assert cloud.submissions(one.name) == 1
        cloud.assert_nothing_left(one.name)
    second.terminate()
    assert second.wait(timeout=60) == 0
