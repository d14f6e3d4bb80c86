"""The reaper goes by labels, and only for runs the orchestrator calls over."""

from __future__ import annotations

import asyncio
import time

import pytest

from sky_orchestrate.reaper import RunState, reap
from tests.contract import FAST, FakeWorld, attempt, task

NOW_OVER = RunState(over=True, ended_at=0.0)


async def leave_a_cluster(fake: FakeWorld, *, owner: str = "contract", run: str = "run-1", keep: bool = False) -> str:
    """A cluster whose worker was killed."""
    tries = attempt(fake, "lost", run=run).with_options(keep=keep)
    tries.key = type(tries.key)(owner, run, "train")
    running = asyncio.ensure_future(tries.run(task("sleep 1000")))
    while not (up := [name for name, cluster in fake.server.clusters.items() if cluster.labels["run"] == run and cluster.status == "UP"]):
        await asyncio.sleep(0.002)
    running.cancel()
    await asyncio.wait([running])
    return up[0]


async def reaped(fake: FakeWorld, state: RunState | None, *, grace: float = 60, dry_run: bool = False) -> list[str]:
    async def run_state(run: str) -> RunState | None:
        return state

    found = await reap(fake.client(), owner="contract", run_state=run_state, grace=grace, dry_run=dry_run, pace=FAST)
    return [cluster.action for cluster in found]


async def test_rule_04_a_lost_runs_cluster_is_taken_down(fake: FakeWorld) -> None:
    await leave_a_cluster(fake)
    assert await reaped(fake, NOW_OVER) == ["taken down"]
    assert fake.server.left == []


@pytest.mark.parametrize("state", [pytest.param(RunState(over=False), id="live"), pytest.param(None, id="unknown to the orchestrator")])
async def test_rule_04_other_runs_are_left_alone(fake: FakeWorld, state: RunState | None) -> None:
    cluster = await leave_a_cluster(fake)
    assert await reaped(fake, state, grace=0) == ["left"]
    assert fake.server.left == [cluster]


async def test_rule_04_a_run_within_its_grace_time_is_left_alone(fake: FakeWorld) -> None:
    cluster = await leave_a_cluster(fake)
    assert await reaped(fake, RunState(over=True, ended_at=time.time()), grace=600) == ["left"]
    assert fake.server.left == [cluster]


async def test_rule_04_a_kept_cluster_is_left_alone(fake: FakeWorld) -> None:
    await leave_a_cluster(fake, keep=True)
    assert await reaped(fake, NOW_OVER) == ["left"]


async def test_rule_04_another_owners_cluster_is_not_even_looked_at(fake: FakeWorld) -> None:
    await leave_a_cluster(fake, owner="another-project")
    assert await reaped(fake, NOW_OVER) == []
    assert len(fake.server.left) == 1


async def test_rule_04_a_run_that_cannot_be_asked_about_keeps_no_other_cluster_up(fake: FakeWorld) -> None:
    unknown, over = await leave_a_cluster(fake, run="run-1"), await leave_a_cluster(fake, run="run-2")

    async def run_state(run: str) -> RunState | None:
        if run == "run-1":
            raise ConnectionError("no answer\nfrom the orchestrator")
        return NOW_OVER

    found = {one.cluster: one for one in await reap(fake.client(), owner="contract", run_state=run_state, grace=60, pace=FAST)}
    assert found[over].action == "taken down"
    assert found[unknown].action == "failed"
    assert found[unknown].reason == "the orchestrator did not say what became of its run: no answer"
    assert fake.server.left == [unknown]


async def test_rule_04_a_dry_run_takes_nothing_down(fake: FakeWorld) -> None:
    cluster = await leave_a_cluster(fake)
    assert await reaped(fake, NOW_OVER, dry_run=True) == ["would take down"]
    assert fake.server.left == [cluster]
