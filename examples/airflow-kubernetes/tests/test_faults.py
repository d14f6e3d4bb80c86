"""Faults that only a server in memory can be made to have at the right moment."""

from __future__ import annotations

import asyncio
import resource
import time
from dataclasses import replace
from typing import Any

import pytest

from sky_orchestrate import errors, naming
from sky_orchestrate.cluster import JobStatus
from sky_orchestrate.result import Limits, Pace
from sky_orchestrate.teardown import Teardowns, tear_down
from tests.contract import FAST, Attempt, FakeWorld, attempt, task
from tests.fake_cluster import FakeCluster, FakeJob


def cluster_of(tries: Attempt) -> str:
    return naming.cluster_name(tries.options.prefix, "train", tries.key)


async def yes() -> bool:
    return True


@pytest.mark.parametrize("lost", [pytest.param(1, id="once"), pytest.param(2, id="twice")])
async def test_rule_01_an_unanswered_launch_is_looked_for_before_it_is_sent_again(fake: FakeWorld, lost: int) -> None:
    fake.server.lost_answers = lost
    tries = attempt(fake, "fault")
    assert (await tries.run(task("echo done"))).status == "SUCCEEDED"
    assert len(fake.server.submissions) == 1
    assert fake.server.left == []


async def test_rule_01_a_job_whose_launch_was_cut_off_before_it_was_queued_is_not_waited_for(fake: FakeWorld) -> None:
    tries = attempt(fake, "fault")
    cut_off = FakeJob(1, cluster_of(tries), "", "", {}, status=JobStatus.INIT)
    labels = {"owner": "contract", "run": "fault"}
    fake.server.clusters[cluster_of(tries)] = FakeCluster(cluster_of(tries), labels, status="UP", jobs=[cut_off])
    result = await tries.run(task("echo done"))
    assert (result.status, result.job_id) == ("SUCCEEDED", 2)
    assert len(fake.server.submissions) == 1
    assert fake.server.left == []


async def test_rule_04_a_launch_that_stays_unanswered_on_a_server_that_answers_is_taken_down(fake: FakeWorld) -> None:
    fake.server.lost_answers = 1
    tries = attempt(fake, "fault").with_options(pace=replace(FAST, patience=0.0))
    with pytest.raises(errors.AmbiguousSubmission):
        await tries.run(task("sleep 1000"))
    assert fake.server.left == []


async def test_rule_02_the_exit_code_is_known_where_the_log_ended_before_it_was_written(fake: FakeWorld) -> None:
    fake.server.late_reasons = True
    tries = attempt(fake, "fault")
    with pytest.raises(errors.SkyJobFailed) as failed:
        await tries.run(task("echo about to fail\nexit 3"))
    assert failed.value.exit_code == 3
    assert tries.lines.count("about to fail") == 1


async def test_rule_01_a_failed_job_is_submitted_again_by_the_next_attempt(fake: FakeWorld) -> None:
    tries = attempt(fake, "fault").with_options(keep=True)
    for _ in range(2):
        with pytest.raises(errors.SkyJobFailed):
            await tries.run(task("exit 1"))
    assert len(fake.server.submissions) == 2
    await tear_down(fake.client(), cluster_of(tries), pace=FAST)


async def test_rule_01_a_down_under_way_is_awaited_before_a_launch(fake: FakeWorld) -> None:
    tries = attempt(fake, "fault").with_options(keep=True)
    await tries.run(task("exit 0"))
    going_down = asyncio.ensure_future(fake.client().down(cluster_of(tries)))
    await asyncio.sleep(0)
    await tries.with_options(keep=False).run(task("exit 0"))
    await going_down
    assert [entry.split()[0] for entry in fake.server.log if entry.split()[0] in ("launch", "down")] == ["launch", "down", "launch", "down"]


async def test_rule_11_a_cluster_whose_launch_a_restart_cut_off_is_launched_again(fake: FakeWorld) -> None:
    tries = attempt(fake, "fault")
    # Its machine is up, and it takes no job: its runtime was never set up.
    fake.server.clusters[cluster_of(tries)] = FakeCluster(cluster_of(tries), {}, status="UP", ready=False)
    assert (await tries.run(task("echo done"))).status == "SUCCEEDED"
    assert len(fake.server.submissions) == 1
    assert fake.server.left == []


async def test_rule_01_a_cluster_lost_between_attempts_is_launched_again(fake: FakeWorld) -> None:
    tries = attempt(fake, "fault").with_options(keep=True)
    await tries.run(task("exit 0"))
    fake.server.clusters[cluster_of(tries)].lose()
    assert (await tries.with_options(keep=False).run(task("exit 0"))).job_id == 1
    assert len(fake.server.submissions) == 2


@pytest.mark.parametrize("moment", ["mid-launch", "mid-run"])
async def test_rule_11_a_restarted_server_changes_nothing(fake: FakeWorld, moment: str) -> None:
    tries = attempt(fake, "fault")
    running = asyncio.ensure_future(tries.run(task("echo begun\nsleep 10\necho ended")))
    if moment == "mid-launch":
        while not fake.server.active():
            await asyncio.sleep(0)
        await asyncio.sleep(0.005)
    else:
        await fake.until_running(cluster_of(tries))
    fake.server.answers = False
    fake.server.restart()
    await asyncio.sleep(0.03)
    fake.server.answers = True
    assert (await running).status == "SUCCEEDED"
    assert tries.lines.count("ended") == 1
    assert len(fake.server.submissions) == 1


async def test_rule_11_an_endpoint_down_from_the_start_is_one_clear_line(fake: FakeWorld) -> None:
    fake.server.answers = False
    began = time.monotonic()
    with pytest.raises(errors.EndpointUnreachable) as unreachable:
        await attempt(fake, "fault").run(task("echo never"))
    assert "\n" not in str(unreachable.value)
    assert time.monotonic() - began < FAST.patience
    assert fake.server.log == []


async def test_rule_09_a_cut_stream_is_taken_up_where_it_was(fake: FakeWorld) -> None:
    fake.server.cut_streams_after = [3, 5, 2]
    tries = attempt(fake, "fault")
    await tries.run(task("\n".join(f"echo line-{number}" for number in range(9))))
    assert [line for line in tries.lines if line.startswith("line-")] == [f"line-{number}" for number in range(9)]


async def test_rule_09_a_refused_stream_falls_back_to_polling_and_the_log_at_the_end(fake: FakeWorld) -> None:
    fake.server.streams_allowed = 0
    tries = attempt(fake, "fault")
    running = asyncio.ensure_future(tries.run(task("echo one\nsleep 20\necho two")))
    await fake.until_running(cluster_of(tries))
    await asyncio.sleep(0.05)
    fake.server.streams_allowed = 1
    assert (await running).status == "SUCCEEDED"
    assert [line for line in tries.lines if line in ("one", "two")] == ["one", "two"]


async def test_rule_02_a_failure_seen_by_polling_is_a_failure(fake: FakeWorld) -> None:
    fake.server.streams_allowed = 0
    with pytest.raises(errors.SkyJobFailed):
        await attempt(fake, "fault").run(task("sleep 2\nexit 7"))
    assert fake.server.left == []


async def test_rule_07_no_capacity_can_be_retried(fake: FakeWorld) -> None:
    fake.server.capacity = False
    with pytest.raises(errors.SkyNoCapacity) as refused:
        await attempt(fake, "fault").run(task("echo never"))
    assert refused.value.retryable
    assert fake.server.left == []


async def test_rule_07_waiting_for_capacity_ends_at_the_provisioning_limit(fake: FakeWorld) -> None:
    fake.server.capacity = False
    tries = attempt(fake, "fault", limits=Limits(provision=0.1)).with_options(wait_for_capacity=True)
    with pytest.raises(errors.SkyProvisionTimeout):
        await tries.run(task("echo never"))
    assert fake.server.left == []


async def test_rule_07_a_job_that_never_starts_ends_at_the_limit_for_queued_jobs(fake: FakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = attempt(fake, "fault", "first").with_options(keep=True)
    await shared.run(task("exit 0"))
    cluster = cluster_of(shared)
    queued = attempt(fake, "fault", "second", limits=Limits(queued=0.05)).with_options(cluster=cluster)
    running = asyncio.ensure_future(queued.run(task("echo never", setup="exit 0")))
    while len(fake.server.submissions) < 2:
        await asyncio.sleep(0)
        for job in fake.server.clusters[cluster].jobs[1:]:
            if job.work is not None and job.status.live:
                # The cluster's scheduler holds the job back.
                job.work.cancel()
                job.status, job.work = job.status.PENDING, None
                monkeypatch.setattr(job, "end", lambda status: None)
    with pytest.raises(errors.SkyQueuedTimeout):
        await running
    assert fake.server.left == []


async def test_rule_03_a_teardown_that_cannot_be_verified_is_told_with_the_command_to_run(
    fake: FakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = fake.client()

    async def down(cluster_name: str) -> None:
        raise errors.LaunchError("the cloud said no")

    monkeypatch.setattr(client, "down", down)
    tries = attempt(fake, "fault").with_options(pace=replace(FAST, teardown=0.2))
    with pytest.raises(errors.SkyTeardownFailed, match=f"sky down {cluster_of(tries)}"):
        await tries.run(task("exit 0"), client=client)
    await tear_down(fake.client(), cluster_of(tries), pace=FAST)


async def test_rule_03_a_launch_still_on_its_way_is_outlasted(fake: FakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """`down` finds nothing, and the launch the server took meanwhile comes up all the same."""
    client = fake.client()
    tries = attempt(fake, "fault")
    slow_launch = client.launch

    async def launch(*args: Any, **kwargs: Any) -> str:
        await asyncio.sleep(0.05)
        return await slow_launch(*args, **kwargs)

    monkeypatch.setattr(client, "launch", launch)
    running = asyncio.ensure_future(tries.run(task("sleep 1000"), client=client, user_cancelled=yes))
    await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])
    await asyncio.sleep(0.1)
    assert fake.server.left == []


async def test_rule_06_a_second_cancel_does_not_stop_the_teardown(fake: FakeWorld) -> None:
    tries = attempt(fake, "fault")
    running = asyncio.ensure_future(tries.run(task("sleep 1000"), user_cancelled=yes))
    await fake.until_running(cluster_of(tries))
    for _ in range(3):
        running.cancel()
        await asyncio.sleep(0.002)
    await asyncio.wait([running])
    assert fake.server.left == []


async def test_rule_13_a_scope_tells_of_every_teardown_that_failed() -> None:
    async def fails(name: str) -> None:
        raise errors.SkyTeardownFailed(f"{name} may still cost money")

    scope = Teardowns()
    scope.start(fails("one"))
    scope.start(fails("two"))
    with pytest.raises(errors.SkyTeardownFailed, match="one may still cost money; two may still cost money"):
        await scope.finish()


async def test_rule_15_a_thousand_waits_share_few_streams_and_none_starves() -> None:
    fake = FakeWorld()
    client = fake.server.client(streams=16, launches=1000)
    pace = Pace(patience=60, poll=(0.5, 1.0), health=(5.0, 10.0), teardown=60)
    steps = [attempt(fake, "many", f"step-{number}").with_options(pace=pace) for number in range(1000)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    results = await asyncio.gather(*(step.run(task("echo done\nsleep 100"), client=client) for step in steps))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert {result.status for result in results} == {"SUCCEEDED"}
    assert len(fake.server.submissions) == 1000
    assert fake.server.left == []
    assert grown < 300 * 1024


@pytest.mark.parametrize("comes_back", [True, False], ids=["and comes back", "for good"])
async def test_rule_08_a_cluster_that_is_up_and_does_not_answer(fake: FakeWorld, comes_back: bool) -> None:
    tries = attempt(fake, "fault")
    fake.server.cut_streams_after = [1]
    running = asyncio.ensure_future(tries.run(task("echo begun\nsleep 10\necho ended")))
    await fake.until_running(cluster_of(tries))
    fake.server.clusters[cluster_of(tries)].ready = False
    if comes_back:
        await asyncio.sleep(0.2)
        fake.server.clusters[cluster_of(tries)].ready = True
        assert (await running).log_tail[-1] == "ended"
    else:
        with pytest.raises(errors.SkyClusterLost, match="is up, and answers nothing about job 1"):
            await running
    assert len(fake.server.submissions) == 1
    assert fake.server.left == []


async def test_rule_09_a_stream_cut_after_a_long_silence_is_taken_up_again(fake: FakeWorld) -> None:
    pace = replace(FAST, patience=0.3, answer=0.2)
    tries = attempt(fake, "fault").with_options(pace=pace)
    running = asyncio.ensure_future(tries.run(task("echo begun\nsleep 100\necho ended")))
    await fake.until_running(cluster_of(tries))
    await asyncio.sleep(0.5)
    fake.server.answers = False
    fake.server.clusters[cluster_of(tries)].jobs[0].say("a line that cuts the stream")
    await asyncio.sleep(0.05)
    fake.server.answers = True
    assert (await running).log_tail[-1] == "ended"
    assert fake.server.left == []
