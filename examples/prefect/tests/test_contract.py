"""The run contract, rule by rule, on the server in memory and, with `-m e2e`, on the local SkyPilot."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from sky_orchestrate import errors, naming
from sky_orchestrate.cluster import JobStatus, SkyClient
from sky_orchestrate.result import Limits
from sky_orchestrate.teardown import Teardowns, tear_down
from tests.contract import Attempt, World, attempt, task, until_running


async def yes() -> bool:
    return True


def cluster_of(tries: Attempt, name: str = "train") -> str:
    return tries.options.cluster or naming.cluster_name(tries.options.prefix, name, tries.key)


async def submissions(client: SkyClient, cluster: str) -> int:
    return len(await client.queue(cluster))


async def test_rule_01_retry_attaches_to_the_running_job(world: World, prefix: str) -> None:
    tries = attempt(world, prefix)
    spec = task("echo begun\nsleep 20\necho ended", infra=world.infra)
    worker = asyncio.ensure_future(tries.run(spec))
    await until_running(world, cluster_of(tries), worker)
    worker.cancel()
    await asyncio.wait([worker])
    with_teardown = Teardowns()
    result = await tries.run(spec, teardowns=with_teardown)
    assert result.status == "SUCCEEDED"
    assert result.job_id == 1
    assert any("attached to job 1" in line for line in tries.lines)
    assert tries.lines.count("ended") == 1
    await with_teardown.finish()


async def test_rule_01_two_deliveries_at_once_leave_one_surviving_job(world: World, prefix: str) -> None:
    tries = attempt(world, prefix)
    # Longer than two launches lie apart: once the older job's cluster goes down, nobody can tell what became of it.
    spec = task("echo begun\nsleep 40\necho ended", infra=world.infra)
    scope = Teardowns()
    first, second = await asyncio.gather(tries.run(spec, teardowns=scope), tries.run(spec, teardowns=scope))
    assert first.job_id == second.job_id
    assert (first.status, second.status) == ("SUCCEEDED", "SUCCEEDED")
    await scope.finish()


async def test_rule_01_a_finished_job_is_adopted(world: World, prefix: str) -> None:
    tries = attempt(world, prefix).with_options(keep=True)
    spec = task('echo ::sky-output::{\\"accuracy\\": 0.97}', infra=world.infra)
    await tries.run(spec)
    again = await tries.run(spec)
    assert again.job_id == 1
    assert again.outputs == {"accuracy": 0.97}
    await tear_down(world.client(), cluster_of(tries), pace=world.pace)


async def test_rule_02_a_failed_job_is_a_failed_task(world: World, prefix: str) -> None:
    tries = attempt(world, prefix)
    with pytest.raises(errors.SkyJobFailed) as failed:
        await tries.run(task("echo about to fail\nexit 3", infra=world.infra))
    assert failed.value.exit_code == 3
    assert "about to fail" in failed.value.log_tail
    assert failed.value.retryable


async def test_rule_02_a_failed_setup_is_a_failed_task(world: World, prefix: str) -> None:
    with pytest.raises(errors.SkyJobFailed) as failed:
        await attempt(world, prefix).run(task("echo never", setup="exit 4", infra=world.infra))
    assert "never" not in failed.value.log_tail


async def test_rule_03_nothing_is_left_after_success(world: World, prefix: str) -> None:
    tries = attempt(world, prefix)
    result = await tries.run(task("echo done", infra=world.infra))
    assert result.timings.torn_down is not None
    assert await world.left() == []


async def test_rule_03_a_kept_cluster_stays_and_says_so(world: World, prefix: str) -> None:
    tries = attempt(world, prefix).with_options(keep=True)
    await tries.run(task("echo done", infra=world.infra))
    cluster = await world.client().cluster(cluster_of(tries))
    assert cluster is not None
    assert cluster.labels["keep"] == "1"
    assert f"sky down {cluster.name}" in tries.lines[-1]
    await tear_down(world.client(), cluster.name, pace=world.pace)


async def test_rule_04_every_cluster_carries_its_owner_and_run(world: World, prefix: str) -> None:
    tries = attempt(world, prefix)
    running = asyncio.ensure_future(tries.run(task("sleep 30", infra=world.infra), user_cancelled=yes))
    await until_running(world, cluster_of(tries), running)
    cluster = await world.client().cluster(cluster_of(tries))
    assert cluster is not None
    assert cluster.labels["owner"] == "contract"
    assert cluster.labels["run"] == tries.key.run
    running.cancel()
    await asyncio.wait([running])


async def test_rule_05_a_worker_going_away_leaves_the_cluster(world: World, prefix: str) -> None:
    tries = attempt(world, prefix)
    running = asyncio.ensure_future(tries.run(task("sleep 120", infra=world.infra)))
    await until_running(world, cluster_of(tries), running)
    running.cancel()
    await asyncio.wait([running])
    assert await world.client().cluster(cluster_of(tries)) is not None
    await tear_down(world.client(), cluster_of(tries), pace=world.pace)


async def test_rule_06_a_cancel_mid_run_takes_the_cluster_down(world: World, prefix: str) -> None:
    tries = attempt(world, prefix)
    running = asyncio.ensure_future(tries.run(task("sleep 600", infra=world.infra), user_cancelled=yes))
    await until_running(world, cluster_of(tries), running)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await world.left() == []


async def test_rule_06_a_cancel_mid_launch_takes_the_cluster_down(world: World, prefix: str) -> None:
    tries = attempt(world, prefix)
    running = asyncio.ensure_future(tries.run(task("sleep 600", infra=world.infra), user_cancelled=yes))
    while not await world.client().active_requests(cluster_of(tries)):
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await world.left() == []


async def test_rule_07_a_run_limit_ends_the_job_and_tears_down(world: World, prefix: str) -> None:
    seconds = 5.0 if world.infra else 0.05
    tries = attempt(world, prefix, limits=Limits(run=seconds))
    with pytest.raises(errors.SkyRunTimeout, match="ran longer than its limit"):
        await tries.run(task("sleep 600", infra=world.infra))
    assert await world.left() == []


async def test_rule_07_a_provisioning_limit_tears_down(world: World, prefix: str) -> None:
    tries = attempt(world, prefix, limits=Limits(provision=3.0 if world.infra else 0.01))
    with pytest.raises(errors.SkyProvisionTimeout) as timed_out:
        await tries.run(task("echo never", infra=world.infra))
    assert timed_out.value.retryable
    assert await world.left() == []


async def test_rule_08_a_lost_cluster_is_told_from_a_failed_job(world: World, prefix: str) -> None:
    tries = attempt(world, prefix)
    running = asyncio.ensure_future(tries.run(task("echo begun\nsleep 600", infra=world.infra)))
    await until_running(world, cluster_of(tries), running)
    await world.take_away(cluster_of(tries))
    with pytest.raises(errors.SkyClusterLost) as lost:
        await running
    assert lost.value.retryable


async def test_rule_09_lines_come_in_order_and_without_colours(world: World, prefix: str) -> None:
    tries = attempt(world, prefix)
    result = await tries.run(task("echo one\necho two\necho three", infra=world.infra))
    shown = [line for line in tries.lines if line in ("one", "two", "three")]
    assert shown == ["one", "two", "three"]
    assert not any("\x1b" in line for line in tries.lines)
    assert "three" in result.log_tail


async def test_rule_10_a_secret_reaches_the_job_and_nothing_else(world: World, prefix: str) -> None:
    tries = attempt(world, prefix)
    secret = "s3cr3t-value-0123456789"
    spec = replace(task("echo token is $TOKEN", infra=world.infra), secrets={"TOKEN": secret})
    result = await tries.run(spec)
    assert secret not in repr(spec) + repr(spec.config) + repr(result) + "".join(tries.lines)
    assert "token is ***" in tries.lines


async def test_rule_12_a_result_is_plain_data(world: World, prefix: str) -> None:
    result = await attempt(world, prefix).run(task('echo ::sky-output::{\\"loss\\": 0.5}', infra=world.infra))
    assert result.outputs == {"loss": 0.5}
    told = result.as_dict()
    assert set(told) == {"cluster_name", "job_id", "status", "outputs", "log_tail", "timings"}
    assert set(told["timings"]) == {"provisioned", "queued", "ran", "torn_down"}


async def test_rule_13_teardown_after_success_does_not_hold_up_the_next_step(world: World, prefix: str) -> None:
    async with Teardowns() as scope:
        await attempt(world, prefix, "one").run(task("echo one", infra=world.infra), teardowns=scope)
        assert scope.pending == 1
    assert await world.left() == []


async def test_rule_14_steps_share_a_cluster(world: World, prefix: str) -> None:
    shared = f"{prefix}-shared"
    setup = "echo setting up"
    run = f"run-{prefix}"
    train = attempt(world, prefix, "train", run=run).with_options(cluster=shared)
    evaluate = attempt(world, prefix, "eval", run=run).with_options(cluster=shared)
    first = await train.run(task("echo trained", setup=setup, name="train", infra=world.infra))
    second = await evaluate.run(task("echo evaluated", setup=setup, name="eval", infra=world.infra))
    assert (first.cluster_name, second.cluster_name) == (shared, shared)
    assert (first.job_id, second.job_id) == (1, 2)
    assert "setting up" not in evaluate.lines
    jobs = await world.client().queue(shared)
    assert [job.status for job in jobs] == [JobStatus.SUCCEEDED, JobStatus.SUCCEEDED]
    await tear_down(world.client(), shared, pace=world.pace)


async def test_rule_15_eight_at_once_all_end(world: World, prefix: str) -> None:
    steps = [attempt(world, prefix, f"step-{number}") for number in range(8)]
    results = await asyncio.gather(*(step.run(task(f"echo {number}", infra=world.infra)) for number, step in enumerate(steps)))
    assert [result.status for result in results] == ["SUCCEEDED"] * 8
    assert len({result.cluster_name for result in results}) == 8
    assert await world.left() == []
