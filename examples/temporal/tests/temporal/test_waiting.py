"""The wait for a job on its own: what its heartbeats say, what the next attempt takes over, and its limits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sky_orchestrate.patience import within
from sky_orchestrate.result import TaskResult
from temporal.messages import SkyWaitCommand, WaitPosition
from tests.contract import task
from tests.fake_sky import FakeServer, FakeSky
from tests.temporal.attempts import NAME, SLOW, Attempt, Bench, bench_of, cancelled, error_of
from tests.temporal.conftest import until


async def test_heartbeats_say_how_far_the_wait_has_come(bench: Bench) -> None:
    job, attempt = await bench.launched(), Attempt()
    await attempt.begin(bench.activities.run_sky_wait, SkyWaitCommand(job))
    last: WaitPosition = attempt.beats[-1]
    assert (last.cluster_name, last.job_id) == (NAME, 1)
    assert last.lines >= 4
    assert last.started_at == pytest.approx(time.time(), abs=30)
    assert "two" in last.last_lines
    assert len(last.last_lines) <= 5
    await bench.down()


async def test_rule_09_the_next_attempt_shows_the_lines_that_were_not_yet_shown_and_keeps_outputs_and_tail(
    bench: Bench, shown: Callable[[], list[str]]
) -> None:
    job, before = await bench.launched(), Attempt()
    running = before.begin(bench.activities.run_sky_wait, SkyWaitCommand(job))
    await until(lambda: before.beats and "one" in before.beats[-1].last_lines)
    await cancelled(before, running)
    first = shown()
    result: TaskResult = await Attempt().begin(bench.activities.run_sky_wait, SkyWaitCommand(job), after=before.beats[-1:])
    second = shown()
    assert "one" in first
    assert "one" not in second
    assert [line for line in first + second if line in ("one", "two", "three")] == ["one", "two", "three"]
    assert result.outputs == {"step": 1}
    assert [line for line in result.log_tail if line in ("one", "two", "three")] == ["one", "two", "three"]
    await bench.down()


@pytest.mark.parametrize(
    "told",
    [
        pytest.param([], id="nothing"),
        pytest.param([None], id="null"),
        pytest.param(["three lines"], id="text"),
        pytest.param([{}], id="no field"),
        pytest.param([{"lines": "three", "started_at": "noon"}], id="fields of another kind"),
        pytest.param([{"lines": 1, "job_id": 1, "colour": "blue"}, 7], id="fields and details of a later version"),
    ],
)
async def test_whatever_another_versions_heartbeat_said_the_wait_goes_on(bench: Bench, told: list[Any]) -> None:
    job = await bench.launched("name: train\nrun: echo one\n")
    result: TaskResult = await Attempt().begin(bench.activities.run_sky_wait, SkyWaitCommand(job), after=told)
    assert result.status == "SUCCEEDED"
    await bench.down()


async def test_lines_shown_of_another_job_hide_none_of_this_one(bench: Bench, shown: Callable[[], list[str]]) -> None:
    job = await bench.launched("name: train\nrun: echo one\n")
    await Attempt().begin(bench.activities.run_sky_wait, SkyWaitCommand(job), after=[WaitPosition(NAME, job.job_id + 1, 1000)])
    assert "one" in shown()
    await bench.down()


async def test_rule_02_a_failed_job_is_told_with_its_code_and_last_lines(bench: Bench) -> None:
    job = await bench.launched("name: train\nrun: |\n  echo the disk is full\n  exit 3\n")
    error = await error_of(Attempt().begin(bench.activities.run_sky_wait, SkyWaitCommand(job)))
    assert (error.type, error.non_retryable) == ("SkyJobFailed", False)
    (told,) = error.details
    assert (told["cluster_name"], told["job_id"], told["status"], told["exit_code"]) == (NAME, 1, "FAILED", 3)
    assert "the disk is full" in told["log_tail"]
    await bench.down()


async def test_rule_07_a_job_that_runs_longer_than_its_limit_is_told(bench: Bench) -> None:
    job = await bench.launched(SLOW)
    error = await error_of(Attempt().begin(bench.activities.run_sky_wait, SkyWaitCommand(job, run_timeout=0.05)))
    assert (error.type, error.non_retryable) == ("SkyRunTimeout", True)
    await bench.down()


async def test_rule_07_the_run_limit_counts_from_the_jobs_start_over_attempts(bench: Bench) -> None:
    job = await bench.launched(SLOW)
    an_hour_ago = WaitPosition(NAME, job.job_id, 2, time.time() - 3600)
    async with within(0.4):
        error = await error_of(Attempt().begin(bench.activities.run_sky_wait, SkyWaitCommand(job, run_timeout=3000), after=[an_hour_ago]))
    assert error.type == "SkyRunTimeout"
    await bench.down()


async def test_rule_07_a_job_that_waits_longer_than_its_limit_is_told(bench: Bench) -> None:
    first = await bench.launched(SLOW)
    request = await bench.sky.client().exec(task(), NAME, job_name="proj-eval-1")
    waiting = replace(first, job_id=await bench.sky.client().submitted_job(request, NAME), job_name="proj-eval-1")
    error = await error_of(Attempt().begin(bench.activities.run_sky_wait, SkyWaitCommand(waiting, queued_timeout=0.05)))
    assert (error.type, error.non_retryable) == ("SkyQueuedTimeout", False)
    await bench.down()


class SlowToStream(FakeSky):
    async def tail_logs(self, *given: Any, **more: Any) -> int | None:
        await asyncio.sleep(0.1)
        return await super().tail_logs(*given, **more)


async def test_rule_07_a_job_that_began_while_no_worker_looked_did_not_wait_too_long(sky: FakeServer, project: Path) -> None:
    bench = bench_of(sky, project, lambda: SlowToStream(sky))
    job = replace(await bench.launched("name: train\nrun: sleep 20\n"), submitted_at=time.time() - 3600)
    result: TaskResult = await Attempt().begin(bench.activities.run_sky_wait, SkyWaitCommand(job, queued_timeout=60))
    assert result.status == "SUCCEEDED"
    await bench.down()
