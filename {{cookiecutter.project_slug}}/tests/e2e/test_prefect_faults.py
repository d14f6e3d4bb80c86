"""What only Prefect does: a flow's process crashes under its worker, two deliveries of one flow run, and runs that fall silent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.cloud import Cloud
from tests.e2e.jobs import Job
from tests.e2e.orchestra import Orchestra, Run
from tests.e2e.processes import kill_9, until

pytestmark = pytest.mark.e2e


def test_rule_05_a_flow_that_crashes_mid_run_attaches_to_its_job_when_retried(
    cloud: Cloud, orchestra: Orchestra, job: Job, run_step: Callable[..., Run]
) -> None:
    job = job.gated()
    run = run_step(job)
    until("the job has begun", lambda: job.began, within=120)
    kill_9(*orchestra.engines())
    assert run.verdict(within=60) == "Crashed"
    # The runner says so, and then the worker, which logs this hint on kill -9 last: only now is the state ours to set.
    until("the worker has told of it too", lambda: run.says("exceeded its memory allocation"), within=60)
    assert cloud.allocations(job.name)
    run.again()
    until("the retry has attached", lambda: run.says("attached to job 1"), within=90)
    job.open_gate()
    assert run.verdict(within=120) == "Completed"
    assert (job.began, job.ended) == (1, 1)
    assert cloud.submissions(job.name) == 1
    cloud.assert_nothing_left(job.name)


def test_rule_01_two_deliveries_of_one_run_at_once_are_one_job(
    cloud: Cloud, orchestra: Orchestra, job: Job, run_step: Callable[..., Run], tmp_path: Path
) -> None:
    job = job.gated()
    run = run_step(job)
    run.until_running(within=90)
    (tmp_path / "other-home").mkdir()
    orchestra.household.start(
        "-m", "prefect", "flow-run", "execute", str(run.id), log="second", environ={"HOME": str(tmp_path / "other-home")}
    )
    until("both deliveries follow the job", lambda: sum(line.endswith(" waiting 1") for line in run.logs) == 2, within=180)
    job.open_gate()
    assert run.verdict(within=120) == "Completed"
    assert (job.began, job.ended) == (1, 1)
    until("both deliveries have ended", lambda: not orchestra.engines(), within=90)
    cloud.assert_nothing_left(job.name)


@pytest.mark.deadline(600)
def test_rule_04_kill_9_and_no_new_attempt_is_called_crashed_and_the_reaper_takes_the_cluster(
    cloud: Cloud, orchestra: Orchestra, job: Job, run_step: Callable[..., Run]
) -> None:
    job = job.gated()
    run = run_step(job)
    until("the job has begun", lambda: job.began, within=120)
    orchestra.kill_worker()
    assert run.verdict(within=240) == "Crashed"
    assert cloud.allocations(job.name)
    orchestra.start_worker()
    reaper = orchestra.reap()
    assert reaper.verdict(within=120) == "Completed"
    reaper.assert_says("taken down")
    assert run.state.name == "Crashed"
    assert (job.began, job.ended) == (1, 0)
    assert cloud.submissions(job.name) == 1
    cloud.assert_nothing_left(job.name)
