"""A user's cancel takes clusters down, a worker that goes away leaves them, and the reaper takes what is left of runs that are over."""

from __future__ import annotations

import asyncio
import subprocess
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run as current
from prefect.states import Cancelling

from flows import cancellation, inputs
from flows.cancellation import take_down_rest
from flows.reaper import sky_reaper
from flows.run_identity import RunIdentity, current_run
from flows.run_state import run_state
from flows.scope import shared_cluster, sky_teardowns
from flows.sky_train_flow import run_sky_task
from tests.fake_sky import FakeServer
from tests.flows.conftest import final_state, flow_run_of, order

SLOW = "tasks/slow.yaml"


async def running(sky: FakeServer) -> None:
    while not sky.submissions:
        await asyncio.sleep(0.01)


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flow runs of these tests count as a deployment's, which somebody starts again."""

    async def as_deployed() -> RunIdentity:
        run = await current_run()
        return RunIdentity(run.id, run.flow_runs, run.task_run_id, run.attempt, deployed=True)

    monkeypatch.setattr("flows.sky_train_flow.current_run", as_deployed)
    monkeypatch.setattr("flows.scope.current_run", as_deployed)


async def cancelled_from_the_ui(run_id: str) -> None:
    async with get_client() as client:
        await client.set_flow_run_state(uuid.UUID(run_id), Cancelling())


async def ended(run: Callable[[], Coroutine[Any, Any, Any]], cancel: Callable[[asyncio.Task[Any]], Coroutine[Any, Any, None]]) -> None:
    task = asyncio.ensure_future(run())
    await cancel(task)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancel_from_the_ui_takes_the_cluster_down(sky: FakeServer) -> None:
    runs: list[str] = []

    @flow
    async def cancelled() -> None:
        runs.append(str(current.id))
        await run_sky_task(yaml_path=SLOW)

    async def cancel(task: asyncio.Task[Any]) -> None:
        await running(sky)
        await cancelled_from_the_ui(runs[0])

    await ended(cancelled, cancel)
    assert order(sky, "down") == ["slow"]


async def test_it_reaches_the_tasks_that_a_flow_submitted(sky: FakeServer) -> None:
    runs: list[str] = []

    @flow
    async def submitting() -> None:
        runs.append(str(current.id))
        futures = [run_sky_task.submit(yaml_path=SLOW, key=key) for key in "ab"]
        while not all(future.state.is_final() for future in futures):
            await asyncio.sleep(0.02)

    task = asyncio.ensure_future(submitting())
    while len(sky.submissions) < 2:
        await asyncio.sleep(0.01)
    await cancelled_from_the_ui(runs[0])
    await task
    assert order(sky, "down") == ["slow", "slow"]


async def test_ctrl_c_takes_the_cluster_down_where_nobody_starts_the_run_again(sky: FakeServer) -> None:
    @flow
    async def by_hand() -> None:
        async with sky_teardowns():
            await run_sky_task(yaml_path=SLOW)

    async def interrupt(task: asyncio.Task[Any]) -> None:
        await running(sky)
        task.cancel()

    await ended(by_hand, interrupt)
    assert order(sky, "down") == ["slow"]


async def test_a_worker_that_goes_away_leaves_the_cluster(sky: FakeServer, deployed: None) -> None:
    @flow
    async def on_a_worker() -> None:
        async with sky_teardowns(), shared_cluster("gpu") as cluster:
            await run_sky_task(yaml_path=SLOW, cluster=cluster)

    async def sigterm(task: asyncio.Task[Any]) -> None:
        await running(sky)
        task.cancel()

    await ended(on_a_worker, sigterm)
    assert order(sky, "down") == []
    (cluster,) = sky.left
    await sky.client().down(cluster)


async def test_prefects_timeout_takes_the_cluster_down_on_a_worker_too(sky: FakeServer, deployed: None) -> None:
    @flow
    async def limited() -> None:
        await run_sky_task.with_options(timeout_seconds=1, retries=0)(yaml_path=SLOW)

    with pytest.raises(TimeoutError):
        await limited()
    assert order(sky, "down") == ["slow"]


async def test_a_cancel_within_the_flow_takes_the_cluster_down_at_its_end(sky: FakeServer, deployed: None) -> None:
    @flow
    async def impatient() -> None:
        async with sky_teardowns():
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(run_sky_task(yaml_path=SLOW), 0.5)

    await impatient()
    assert order(sky, "down") == ["slow"]


async def test_a_second_cancel_does_not_stop_the_teardown(sky: FakeServer) -> None:
    @flow
    async def insisted() -> None:
        await run_sky_task(yaml_path=SLOW)

    async def cancel(task: asyncio.Task[Any]) -> None:
        await running(sky)
        for _ in range(20):
            task.cancel()
            await asyncio.sleep(0.001)

    await ended(insisted, cancel)
    assert order(sky, "down") == ["slow"]


async def test_the_hook_takes_down_what_a_killed_process_left(sky: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> Any:
        commands.append(command)
        return SimpleNamespace(stdout="proj-train-1: taken down", stderr="", returncode=0)

    monkeypatch.setattr(subprocess, "run", run)

    @flow
    async def endpoint_given(api_server_endpoint: str) -> None:
        pass

    state = await final_state(endpoint_given("http://10.0.0.1:46580", return_state=True))
    flow_run = await flow_run_of(state)
    await take_down_rest(endpoint_given, flow_run, Cancelling())
    (command,) = commands
    assert command[1:] == ["-m", "sky_orchestrate", "reap", "--run", str(flow_run.id), "--endpoint", "http://10.0.0.1:46580"]


async def test_prefect_tells_the_reaper_which_runs_are_over() -> None:
    seen: list[Any] = []

    @flow
    async def asked() -> None:
        seen.append((str(current.id), await run_state(str(current.id))))

    await asked()
    run_id, while_running = seen[0]
    assert while_running is not None
    assert not while_running.over
    after = await run_state(run_id)
    assert after is not None
    assert after.over
    assert after.ended_at is not None
    assert await run_state(str(uuid.uuid4())) is None
    assert await run_state("2024-01-01-scheduled") is None


async def test_the_reaper_takes_the_clusters_of_runs_that_are_over_alone(sky: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[str] = []

    @flow
    async def keeping(*, live: bool) -> None:
        result = await run_sky_task(yaml_path="tasks/train.yaml", down_on_completion=False, key=str(live))
        # As a killed worker's: up, and nobody asked for that.
        sky.clusters[result["cluster_name"]].labels.pop("keep")
        kept.append(result["cluster_name"])
        if live:
            table = await sky_reaper()
            assert {row["cluster"]: row["action"] for row in table} == {kept[0]: "taken down", kept[1]: "left"}

    settings = replace(inputs.load_settings(), reaper_grace=0)
    monkeypatch.setattr(inputs, "load_settings", lambda: settings)
    await keeping(live=False)
    assert [row["action"] for row in await sky_reaper(dry_run=True)] == ["would take down"]
    await keeping(live=True)
    await sky.client().down(kept[1])


async def test_one_poll_serves_all_steps_of_a_run(sky: FakeServer) -> None:
    watches: list[Any] = []

    @flow
    async def many() -> None:
        steps = [asyncio.ensure_future(run_sky_task(yaml_path="tasks/long.yaml", key=str(number))) for number in range(4)]
        while len(sky.submissions) < 4:
            await asyncio.sleep(0.01)
        watches.extend(cancellation._watches.values())
        await asyncio.gather(*steps)

    await many()
    (watch,) = watches
    assert watch.poller is not None
    assert cancellation._watches == {}
