"""SkyPilot's API server restarts, is cut off or is not there."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from local import lifecycle
from tests.conftest import ROOT
from tests.e2e.cloud import Cloud
from tests.e2e.jobs import Job
from tests.e2e.orchestra import Run
from tests.e2e.processes import until
from tests.e2e.proxy import Proxy

pytestmark = pytest.mark.e2e


def test_rule_11_a_server_restarted_mid_launch_still_makes_one_job(cloud: Cloud, job: Job, run_step: Callable[..., Run]) -> None:
    run = run_step(job)
    until("Slurm has given the cluster its allocation", lambda: cloud.allocations(job.name), within=120)
    lifecycle.restart(ROOT)
    assert run.verdict(within=300) == "Completed"
    assert (job.began, job.ended) == (1, 1)
    cloud.assert_nothing_left(job.name)


def test_rule_11_a_server_restarted_mid_run_does_not_touch_the_job(cloud: Cloud, job: Job, run_step: Callable[..., Run]) -> None:
    job = job.gated()
    run = run_step(job)
    until("the job has begun", lambda: job.began, within=120)
    lifecycle.restart(ROOT)
    job.open_gate()
    assert run.verdict(within=180) == "Completed"
    assert (job.began, job.ended) == (1, 1)
    assert cloud.submissions(job.name) == 0, "the restarted server has forgotten the first, and got no second"
    cloud.assert_nothing_left(job.name)


def test_rule_09_a_log_stream_that_is_cut_goes_on_without_a_line_lost_or_doubled(
    cloud: Cloud, job: Job, run_step: Callable[..., Run]
) -> None:
    job = job.gated()
    with Proxy(cloud.endpoint) as proxy:
        run = run_step(job, api_server_endpoint=proxy.url)
        until_more_arrives(run, within=180)
        for _ in range(2):
            assert proxy.cut() > 0
            until_more_arrives(run, within=90)
        job.open_gate()
        assert run.verdict(within=120) == "Completed"
    numbers = counted(run)
    assert numbers == list(range(1, len(numbers) + 1))
    assert (job.began, job.ended) == (1, 1)
    assert cloud.submissions(job.name) == 1
    cloud.assert_nothing_left(job.name)


def test_rule_11_no_server_at_the_endpoint_is_one_clear_line(cloud: Cloud, job: Job, run_step: Callable[..., Run]) -> None:
    run = run_step(job, api_server_endpoint="http://127.0.0.1:9")
    assert run.verdict(within=60) == "Failed"
    assert "http://127.0.0.1:9" in run.message
    assert len(run.message.splitlines()) == 1
    assert job.began == 0
    assert cloud.submissions(job.name) == 0


def until_more_arrives(run: Run, *, within: float) -> None:
    before = len(counted(run))
    until("some lines of the job's log arrive", lambda: len(counted(run)) > before + 3, within=within)


def counted(run: Run) -> list[int]:
    return [int(found[1]) for line in run.logs if (found := re.search(r"waiting (\d+)$", line))]
