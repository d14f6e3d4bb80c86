"""run_sky_task many times in one flow run: by `.submit` and `.map`, from async and from sync flows, and eight at once."""

from __future__ import annotations

import pytest

from tests.e2e.cloud import Cloud
from tests.e2e.jobs import Job
from tests.e2e.orchestra import Orchestra
from tests.e2e.processes import until

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("flow", ["async", "sync"])
def test_submit_and_map_run_each_task_once(cloud: Cloud, orchestra: Orchestra, job: Job, flow: str) -> None:
    jobs = [Job(job.folder) for _ in range(3)]
    run = orchestra.submit(f"e2e_{flow}_fan_out", {"task_yamls": [one.yaml for one in jobs]})
    assert run.verdict(within=300) == "Completed"
    for one in jobs:
        assert (one.began, one.ended) == (1, 1)
        assert cloud.submissions(one.name) == 1
        cloud.assert_nothing_left(one.name)


@pytest.mark.deadline(900)
def test_rule_15_eight_tasks_at_once_all_end_well(cloud: Cloud, orchestra: Orchestra, job: Job) -> None:
    jobs = [Job(job.folder).gated() for _ in range(8)]
    run = orchestra.submit("sky_parallel_workflow", {"tasks": [{"task_yaml": one.yaml} for one in jobs]})
    until("all eight run at once", lambda: all(one.began for one in jobs), within=600)
    assert not any(one.ended for one in jobs)
    for one in jobs:
        one.open_gate()
    assert run.verdict(within=240) == "Completed"
    for one in jobs:
        assert (one.began, one.ended) == (1, 1)
        cloud.assert_nothing_left(one.name)
