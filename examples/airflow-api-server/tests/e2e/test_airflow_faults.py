"""What only Airflow does: triggers handed on, tasks killed, cleared, marked and timed out, its scheduler's restart."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import pytest

from tests.e2e.cloud import Cloud
from tests.e2e.jobs import Job
from tests.e2e.orchestra import Orchestra, Run
from tests.e2e.processes import PATIENCE, kill_9, until

pytestmark = pytest.mark.e2e


def test_rule_05_a_triggerer_restarted_mid_wait_hands_the_job_over(
    cloud: Cloud, orchestra: Orchestra, job: Job, run_step: Callable[..., Run]
) -> None:
    job = job.gated()
    run = run_step(job)
    until("the job has begun", lambda: job.began, within=120)
    orchestra.stop_worker()
    assert cloud.allocations(job.name)
    orchestra.start_worker()
    until("the new triggerer has attached", lambda: run.says("attached to job 1"), within=60)
    job.open_gate()
    assert run.verdict(within=120) == "Completed"
    assert not run.retried
    assert (job.began, job.ended) == (1, 1)
    assert cloud.submissions(job.name) == 1
    cloud.assert_nothing_left(job.name)


def test_rule_05_a_scheduler_killed_mid_wait_changes_nothing(
    cloud: Cloud, orchestra: Orchestra, job: Job, run_step: Callable[..., Run]
) -> None:
    job = job.gated()
    run = run_step(job)
    until("the job has begun", lambda: job.began, within=120)
    orchestra.restart_scheduler()
    job.open_gate()
    assert run.verdict(within=180) == "Completed"
    assert not run.retried
    assert (job.began, job.ended) == (1, 1)
    assert cloud.submissions(job.name) == 1
    cloud.assert_nothing_left(job.name)


@pytest.mark.parametrize("of", ["task", "scheduler"])
def test_rule_03_kill_9_mid_teardown_leaves_nothing_and_does_not_run_the_job_again(
    cloud: Cloud, orchestra: Orchestra, job: Job, run_step: Callable[..., Run], of: str
) -> None:
    run = run_step(job, retries=1)
    until("the teardown is under way", lambda: run.says("taking down"), within=180)
    doomed = orchestra.task_processes()
    assert len(doomed) == 1
    if of == "task":
        kill_9(*doomed)
    else:
        orchestra.restart_scheduler()
    assert run.verdict(within=240) == "Completed"
    run.assert_says("the job of an earlier attempt succeeded")
    assert (job.began, job.ended) == (1, 1)
    assert cloud.submissions(job.name) == 1
    cloud.assert_nothing_left(job.name)


def test_rule_05_a_task_killed_while_it_waits_on_its_worker_attaches_when_retried(
    cloud: Cloud, orchestra: Orchestra, job: Job, run_step: Callable[..., Run]
) -> None:
    job = job.gated()
    run = run_step(job, retries=1, deferrable=False)
    until("the job has begun", lambda: job.began, within=120)
    doomed = orchestra.task_processes()
    assert len(doomed) == 1
    kill_9(*doomed)
    until("the retry has attached", lambda: run.says("attached to job 1"), within=120)
    job.open_gate()
    assert run.verdict(within=120) == "Completed"
    assert run.retried
    assert (job.began, job.ended) == (1, 1)
    assert cloud.submissions(job.name) == 1
    cloud.assert_nothing_left(job.name)


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "on its worker"])
def test_rule_06_a_task_marked_failed_takes_its_cluster_down(
    cloud: Cloud, orchestra: Orchestra, job: Job, run_step: Callable[..., Run], *, deferrable: bool
) -> None:
    job = job.gated()
    run = run_step(job, retries=1, deferrable=deferrable)
    until("the job has begun", lambda: job.began, within=120)
    run.mark_task("failed")
    marked_at = time.monotonic()
    until("the cluster is gone", lambda: not cloud.left(job.name), within=60)
    assert time.monotonic() - marked_at < 30 * PATIENCE
    assert run.verdict(within=60) == "Failed"
    assert not run.retried
    assert (job.began, job.ended) == (1, 0)
    assert cloud.submissions(job.name) == 1
    cloud.assert_nothing_left(job.name)


def test_a_task_cleared_mid_wait_runs_again_and_leaves_nothing_of_the_first(
    cloud: Cloud, orchestra: Orchestra, job: Job, run_step: Callable[..., Run]
) -> None:
    job = job.gated()
    run = run_step(job)
    until("the job has begun", lambda: job.began, within=120)
    run.clear()
    until("the job runs again", lambda: job.began == 2, within=180)
    job.open_gate()
    assert run.verdict(within=120) == "Completed"
    assert (job.began, job.ended) == (2, 1)
    assert cloud.submissions(job.name) == 2
    cloud.assert_nothing_left(job.name)


def test_a_task_cleared_after_its_success_runs_again(cloud: Cloud, job: Job, run_step: Callable[..., Run]) -> None:
    run = run_step(job)
    assert run.verdict(within=180) == "Completed"
    run.clear()
    until("the job runs again", lambda: job.ended == 2, within=180)
    assert run.verdict(within=120) == "Completed"
    assert cloud.submissions(job.name) == 2
    cloud.assert_nothing_left(job.name)


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "on its worker"])
def test_rule_07_a_task_over_its_execution_timeout_is_taken_down(
    cloud: Cloud, job: Job, run_step: Callable[..., Run], *, deferrable: bool
) -> None:
    job = job.gated()
    run = run_step(job, execution_timeout=50, deferrable=deferrable)
    assert run.verdict(within=180) == "Failed"
    run.assert_says("execution_timeout is over")
    assert job.ended == 0
    assert cloud.submissions(job.name) == 1
    cloud.assert_nothing_left(job.name)


def test_rule_04_the_reaper_takes_the_cluster_of_a_run_given_up_while_no_triggerer_ran(
    cloud: Cloud, orchestra: Orchestra, job: Job, run_step: Callable[..., Run]
) -> None:
    job = job.gated()
    run = run_step(job)
    until("the job has begun", lambda: job.began, within=120)
    orchestra.kill_worker()
    run.lost(within=30)
    orchestra.start_worker()
    assert cloud.allocations(job.name)
    reaper = orchestra.reap()
    assert reaper.verdict(within=120) == "Completed"
    reaper.assert_says("taken down")
    assert (job.began, job.ended) == (1, 0)
    assert cloud.submissions(job.name) == 1
    cloud.assert_nothing_left(job.name)


def test_rule_13_a_pipeline_marked_failed_mid_train_leaves_neither_of_its_clusters(cloud: Cloud, orchestra: Orchestra) -> None:
    run = orchestra.pipeline()
    run.until_deferred("train", within=240)
    data, train = (run.xcom(name, "sky_cluster_page").rsplit("-", 1)[1] for name in ("data_preprocessing", "train"))
    until("Slurm has given training its allocation", lambda: cloud.allocations(train), within=120)
    run.cancel()
    assert run.verdict(within=120) == "Cancelled"
    for task in (data, train):
        until(f"{task} has left nothing", partial(gone, cloud, task), within=60)
        cloud.assert_nothing_left(task)


def gone(cloud: Cloud, task: str) -> bool:
    return not cloud.left(task)


@pytest.mark.deadline(900)
def test_rule_15_eight_deferred_tasks_run_at_once_and_hold_no_worker(
    cloud: Cloud, orchestra: Orchestra, job: Job, run_step: Callable[..., Run]
) -> None:
    jobs = [Job(job.folder).gated() for _ in range(8)]
    runs = [run_step(one) for one in jobs]
    until("all eight run at once", lambda: all(one.began for one in jobs), within=600)
    assert not any(one.ended for one in jobs)
    assert orchestra.task_processes() == []
    for one in jobs:
        one.open_gate()
    assert [run.verdict(within=240) for run in runs] == ["Completed"] * 8
    for one in jobs:
        assert (one.began, one.ended) == (1, 1)
        assert cloud.submissions(one.name) == 1
        cloud.assert_nothing_left(one.name)
