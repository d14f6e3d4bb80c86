"""What Temporal says of a run, and what the reaper makes of it."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.client import Client, ScheduleOverlapPolicy, WorkflowFailureError

from temporal.messages import SkyReapCommand
from temporal.reaper import SkyReaperWorkflow, schedule_reaper
from temporal.run_state import run_states_of
from tests.temporal.conftest import Site, running, until, write_task


async def listed(site: Site, run: str, *, over: bool) -> None:
    """The server lists runs a moment after it knows of them."""
    state = run_states_of(site.client)
    for _ in range(400):
        found = await state(run)
        if found is not None and found.over is over:
            return
    pytest.fail(f"the server did not list {run}")


async def test_a_run_is_live_until_it_has_ended(site: Site) -> None:
    state = run_states_of(site.client)
    handle = await site.start_pipeline()
    run = handle.first_execution_run_id or ""
    await listed(site, run, over=False)
    async with site.working():
        await handle.result()
    await listed(site, run, over=True)
    found = await state(run)
    assert found is not None
    assert found.ended_at


@pytest.mark.parametrize("label", [str(uuid.UUID(int=1)), "no-run-id", "", "x' OR RunId != '"])
async def test_a_run_that_temporal_does_not_know_is_left_alone(client: Client, label: str) -> None:
    assert await run_states_of(client)(label) is None


async def test_rule_04_the_cluster_of_a_terminated_run_goes_and_a_running_ones_stays(site: Site) -> None:
    site = replace(site, settings=replace(site.settings, reaper_grace=0))
    write_task(site.settings.root, "data_preprocessing", "sleep 1000")
    async with site.working():
        lost = await site.start_pipeline()
        await until(lambda: running(site.sky, "data"))
        (dead,) = site.sky.clusters
        live = await site.start_pipeline()
        await until(lambda: len(site.sky.submissions) == 2)
        await lost.terminate()
        await listed(site, lost.first_execution_run_id or "", over=True)
        await listed(site, live.first_execution_run_id or "", over=False)
        told = await (await site.start(SkyReaperWorkflow.run, SkyReapCommand(dry_run=True))).result()
        assert {one["cluster"]: one["action"] for one in told}[dead] == "would take down"
        assert dead in site.sky.clusters
        told = await (await site.start(SkyReaperWorkflow.run, SkyReapCommand())).result()
        assert {one["cluster"]: one["action"] for one in told}.pop(dead) == "taken down"
        assert sorted(one["action"] for one in told) == ["left", "taken down"]
        assert dead not in site.sky.clusters
        await live.cancel()
        with pytest.raises(WorkflowFailureError):
            await live.result()


async def test_rule_04_a_cluster_that_was_kept_on_purpose_stays(site: Site) -> None:
    site = replace(site, settings=replace(site.settings, reaper_grace=0))
    async with site.working():
        await (await site.start_pipeline(keep_cluster=True)).result()
        (told,) = await (await site.start(SkyReaperWorkflow.run, SkyReapCommand())).result()
    assert told["action"] == "left"
    await site.sky.client().down(told["cluster"])


async def test_the_reapers_schedule_does_not_overlap_and_is_renewed_by_a_second_call(client: Client) -> None:
    slug = f"proj{uuid.uuid4().hex[:6]}"
    name = await schedule_reaper(client, slug)
    assert await schedule_reaper(client, slug, every=timedelta(minutes=7)) == name
    schedule = (await client.get_schedule_handle(name).describe()).schedule
    await client.get_schedule_handle(name).delete()
    assert schedule.policy.overlap == ScheduleOverlapPolicy.SKIP
    assert [interval.every for interval in schedule.spec.intervals] == [timedelta(minutes=7)]
