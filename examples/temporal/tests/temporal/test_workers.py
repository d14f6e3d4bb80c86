"""Workers that come and go while a run is under way: one job for each step, and no cluster taken down before its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import WorkflowHandle
from temporalio.common import RetryPolicy

from temporal import activities, heartbeat, steps
from temporal.messages import SkyPilotWorkflowResult
from tests.fake_sky import Speed
from tests.temporal.conftest import Site, requests, running, until, write_task


@asynccontextmanager
async def first_worker(site: Site) -> AsyncIterator[Callable[[], Coroutine[Any, Any, None]]]:
    """A worker that polls, and how it is told to stop."""
    worker = site.worker()
    polling = asyncio.ensure_future(worker.run())

    async def stop() -> None:
        if not polling.done():
            await worker.shutdown()
        await polling

    try:
        yield stop
    finally:
        await stop()


async def retried(handle: WorkflowHandle[Any, Any]) -> list[str]:
    """Why activities were tried again, as the server has it."""
    events = (await handle.fetch_history()).events
    failures = [event.activity_task_started_event_attributes.last_failure for event in events]
    return [failure.application_failure_info.type or str(failure.WhichOneof("failure_info")) for failure in failures if failure.message]


def only_at_its_end(site: Site) -> bool:
    """Each job was submitted once, and the training cluster went down after its last one."""
    done = requests(site.sky)
    submitted = [one for one in done if not one.startswith("down")]
    return submitted == ["launch data", "launch train", "exec train"] and done.index("down train") > done.index("exec train")


@pytest.mark.parametrize("shutdown", [pytest.param(10.0, id="with grace"), pytest.param(0.0, id="at once")])
async def test_rule_05_a_worker_that_stops_hands_its_wait_over_at_once(site: Site, project: Path, shutdown: float) -> None:
    write_task(project, "train", "echo begun\nsleep 200\necho '::sky-output::{\"validation_accuracy\": 0.5}'")
    second = await site.elsewhere()
    async with first_worker(replace(site, shutdown=shutdown)) as stop:
        handle = await site.start_pipeline()
        await until(lambda: any(line.startswith("logs proj-train") for line in site.sky.log))
        async with second.working():
            await stop()
            result: SkyPilotWorkflowResult = await handle.result()
    assert result.steps["train"].outputs == {"validation_accuracy": 0.5}
    assert len(site.sky.submissions) == 3
    assert only_at_its_end(site)
    assert await retried(handle)


async def test_rule_05_a_worker_that_stops_during_a_launch_leaves_it_to_the_next(site: Site) -> None:
    site.sky.speed = Speed(launch=0.6)
    second = await site.elsewhere()
    async with first_worker(replace(site, shutdown=10.0)) as stop:
        handle = await site.start_pipeline()
        await until(site.sky.active)
        async with second.working():
            await stop()
            await handle.result()
    assert len(site.sky.submissions) == 3
    assert only_at_its_end(site)
    assert await retried(handle) == [heartbeat.WORKER_GOES_AWAY]


async def test_rule_05_workers_that_stop_during_a_launch_do_not_use_up_its_attempts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.sky.speed = Speed(launch=0.6)
    once = RetryPolicy(initial_interval=timedelta(milliseconds=50), maximum_attempts=1)
    monkeypatch.setattr(steps, "_SUBMIT_AGAIN", once)
    second = await site.elsewhere()
    async with first_worker(replace(site, shutdown=10.0)) as stop:
        handle = await site.start_pipeline()
        await until(site.sky.active)
        async with second.working():
            await stop()
            await handle.result()
    assert len(site.sky.submissions) == 3
    assert only_at_its_end(site)


async def test_rule_03_a_worker_that_stops_during_a_teardown_leaves_it_to_the_next(site: Site) -> None:
    site.sky.speed = Speed(down=0.6)
    second = await site.elsewhere()
    async with first_worker(replace(site, shutdown=10.0)) as stop:
        handle = await site.start_pipeline()
        await until(lambda: any(line.startswith("down proj-train") for line in site.sky.log))
        async with second.working():
            await stop()
            result: SkyPilotWorkflowResult = await handle.result()
    assert site.sky.left == []
    assert only_at_its_end(site)
    assert result.steps["eval"].timings.torn_down is not None


async def test_rule_05_a_run_waits_for_a_worker_and_goes_on_with_its_job(site: Site, project: Path) -> None:
    write_task(project, "train", "echo begun\nsleep 20\necho '::sky-output::{\"validation_accuracy\": 0.5}'")
    async with first_worker(replace(site, shutdown=10.0)) as stop:
        handle = await site.start_pipeline()
        await until(lambda: running(site.sky, "train"))
        await stop()
    await until(lambda: not running(site.sky, "train"))
    async with site.working():
        result: SkyPilotWorkflowResult = await handle.result()
    assert result.steps["train"].outputs == {"validation_accuracy": 0.5}
    assert len(site.sky.submissions) == 3


async def test_rule_05_a_worker_that_dies_is_missed_and_the_next_attempt_attaches(
    site: Site, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_task(project, "train", "echo begun\nsleep 150\necho '::sky-output::{\"validation_accuracy\": 0.5}'")
    alive = activities.beating

    async def dying(work: Any, **given: Any) -> Any:
        """The first attempt at each wait goes silent, as one whose machine lost power."""
        info = activity.info()
        if info.activity_type != "run_sky_wait" or info.attempt > 1:
            return await alive(work, **given)
        work.close()
        await asyncio.sleep(1000)
        return None

    monkeypatch.setattr(activities, "beating", dying)
    monkeypatch.setattr(steps, "HEARTBEAT", timedelta(seconds=1))
    async with site.working():
        handle = await site.start_pipeline()
        result: SkyPilotWorkflowResult = await handle.result()
    assert result.steps["train"].outputs == {"validation_accuracy": 0.5}
    assert len(site.sky.submissions) == 3
    assert await retried(handle) == ["timeout_failure_info"] * 3


async def test_several_workers_share_the_runs_of_a_queue(site: Site) -> None:
    async with site.working(), (await site.elsewhere()).working():
        runs = [await site.start_pipeline() for _ in range(3)]
        results = [await run.result() for run in runs]
    assert [result.accuracy for result in results] == [0.97] * 3
    assert len({step.cluster_name for result in results for step in result.steps.values()}) == 6
    assert len(site.sky.submissions) == 9
