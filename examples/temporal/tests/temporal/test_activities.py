"""Each activity on its own: what it leaves to the next attempt, and what it tells Temporal of an error."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from temporalio.activity import ActivityCancellationDetails
from temporalio.testing import ActivityEnvironment

from sky_orchestrate import errors
from sky_orchestrate.cluster import JobStatus
from sky_orchestrate.result import TaskResult
from temporal.failures import application_error
from temporal.heartbeat import why_cancelled
from temporal.messages import GitCloneInput, SkyExecCommand, SkyJob, SkyLaunchCommand, SkyWaitCommand
from tests.fake_sky import FakeServer, FakeSky, Speed
from tests.temporal.attempts import NAME, SLOW, Attempt, Bench, bench_of, error_of
from tests.temporal.conftest import until


class SlowToAnswer(FakeSky):
    """Its launches are answered when `answers` is set."""

    def __init__(self, server: FakeServer, answers: asyncio.Event, asked: asyncio.Event) -> None:
        super().__init__(server)
        self._answers, self._asked = answers, asked

    async def launch(self, task: Any, cluster_name: str, **given: Any) -> str:
        self._asked.set()
        await self._answers.wait()
        return await super().launch(task, cluster_name, **given)


async def test_rule_06_a_cancelled_launch_ends_when_the_teardown_can_find_its_request(sky: FakeServer, project: Path) -> None:
    sky.speed = Speed(launch=30)
    answers, asked = asyncio.Event(), asyncio.Event()
    bench, attempt = bench_of(sky, project, lambda: SlowToAnswer(sky, answers, asked)), Attempt()
    running = attempt.begin(bench.activities.run_sky_launch, SkyLaunchCommand(NAME, SLOW))
    await asked.wait()
    attempt.environment.cancel()
    beats = len(attempt.beats)
    await until(lambda: len(attempt.beats) > beats + 3)
    assert not running.done()
    answers.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [request.kind for request in sky.active(NAME)] == ["launch"]
    await bench.down()


async def test_rule_06_a_worker_that_goes_away_after_a_cancel_still_waits_for_the_launch_on_its_way(sky: FakeServer, project: Path) -> None:
    sky.speed = Speed(launch=30)
    answers, asked = asyncio.Event(), asyncio.Event()
    bench, attempt = bench_of(sky, project, lambda: SlowToAnswer(sky, answers, asked)), Attempt()
    running = attempt.begin(bench.activities.run_sky_launch, SkyLaunchCommand(NAME, SLOW))
    await asked.wait()
    # The SDK cancels the task again when its time to shut down is over; the test environment does so once.
    for cancel in (attempt.environment.cancel, running.cancel):
        cancel()
        beats = len(attempt.beats)
        await until(lambda beats=beats: running.done() or len(attempt.beats) > beats + 3)
    early = running.done()
    answers.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    await bench.down()
    assert not early


async def test_rule_05_a_worker_that_goes_away_hands_over_and_takes_nothing_down(bench: Bench) -> None:
    job, attempt = await bench.launched(SLOW), Attempt()
    running = attempt.begin(bench.activities.run_sky_wait, SkyWaitCommand(job))
    await until(lambda: attempt.beats and attempt.beats[-1].lines)
    attempt.environment.worker_shutdown()
    error = await error_of(running)
    assert (error.type, error.non_retryable) == ("WorkerGoesAway", False)
    assert error.next_retry_delay is not None
    assert error.next_retry_delay.total_seconds() <= 1
    assert bench.sky.clusters[NAME].jobs[0].status is JobStatus.RUNNING
    await bench.down()


async def test_rule_05_a_worker_that_goes_away_during_a_launch_leaves_it_to_the_next(bench: Bench) -> None:
    bench.sky.speed = Speed(launch=0.3)
    attempt = Attempt()
    running = attempt.begin(bench.activities.run_sky_launch, SkyLaunchCommand(NAME, SLOW))
    await until(bench.sky.active)
    attempt.environment.worker_shutdown()
    assert (await error_of(running)).type == "WorkerGoesAway"
    job = await bench.launched(SLOW)
    assert job.found
    assert len(bench.sky.submissions) == 1
    await bench.down()


async def test_rule_01_a_second_attempt_of_a_launch_finds_the_job_of_the_first(bench: Bench) -> None:
    assert not (await bench.launched(SLOW)).found
    assert (await bench.launched(SLOW)).found
    assert len(bench.sky.submissions) == 1
    await bench.down()


async def test_rule_14_an_exec_on_a_cluster_that_is_set_up_sets_nothing_up_again(bench: Bench) -> None:
    yaml = "name: {}\nsetup: echo set up\nrun: echo done\n"
    await Attempt().begin(bench.activities.run_sky_wait, SkyWaitCommand(await bench.launched(yaml.format("train"))))
    command = SkyExecCommand(NAME, yaml.format("eval"), job_name="proj-eval-1")
    job: SkyJob = await Attempt().begin(bench.activities.run_sky_exec, command)
    assert (job.job_id, job.job_name) == (2, "proj-eval-1")
    assert f"exec {NAME}" in bench.sky.log
    await bench.down()


@pytest.mark.parametrize(
    ("error", "non_retryable"),
    [
        (errors.SettingsError("a setting"), True),
        (errors.TaskFileError("train.yaml", "run", "is missing", "add it"), True),
        (errors.SourceUnavailable("train.yaml", "", "Git does not answer", ""), False),
        (errors.EndpointUnreachable("no answer"), False),
        (errors.EndpointRefused("401"), True),
        (errors.SkyNoCapacity("none"), False),
        (errors.LaunchRejected("no"), True),
        (errors.SkyRunTimeout("long"), True),
        (errors.SkyClusterLost("lost"), False),
        (errors.SkyTeardownFailed("first line\nsecond line"), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_keeps_its_kind_and_whether_another_attempt_can_help(error: errors.SkyOrchestrateError, non_retryable: bool) -> None:
    told = application_error(error)
    assert (told.type, told.non_retryable, told.message) == (type(error).__name__, non_retryable, str(error).splitlines()[0])
    assert not told.details


async def test_rule_10_secrets_are_looked_up_by_their_names_on_the_worker(sky: FakeServer, project: Path) -> None:
    bench = bench_of(sky, project, TEAM_TOKEN="hf_0123456789")
    yaml = "name: train\nsecrets: {HF_TOKEN: null}\nrun: |\n  echo with $HF_TOKEN\n"
    names = {"HF_TOKEN": "TEAM_TOKEN"}
    job: SkyJob = await Attempt().begin(bench.activities.run_sky_launch, SkyLaunchCommand(NAME, yaml, secrets=names))
    assert sky.clusters[NAME].jobs[0].envs["HF_TOKEN"] == "hf_0123456789"
    attempt = Attempt()
    result: TaskResult = await attempt.begin(bench.activities.run_sky_wait, SkyWaitCommand(job, secrets=names))
    assert "with ***" in result.log_tail
    assert "hf_0123456789" not in repr((result, attempt.beats, job))
    await bench.down()


@pytest.mark.parametrize("which", ["clone", "launch", "wait"])
async def test_a_secret_that_the_worker_does_not_have_is_one_clear_line(bench: Bench, which: str) -> None:
    names, activities = {"HF_TOKEN": "TEAM_TOKEN"}, bench.activities
    asked: dict[str, tuple[Any, Any]] = {
        "clone": (activities.run_git_clone, GitCloneInput(["tasks/train.yaml"], secrets=names)),
        "launch": (activities.run_sky_launch, SkyLaunchCommand(NAME, SLOW, secrets=names)),
        "wait": (activities.run_sky_wait, SkyWaitCommand(SkyJob(NAME, NAME, 1), secrets=names)),
    }
    error = await error_of(Attempt().begin(*asked[which]))
    assert (error.type, error.non_retryable) == ("SettingsError", True)
    assert "HF_TOKEN" in error.message
    assert "TEAM_TOKEN" in error.message
    assert bench.sky.log == []


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("cancel_requested", "the workflow was cancelled"),
        ("worker_shutdown", "the worker goes away"),
        ("timed_out", "another attempt has taken over"),
        ("reset", "another attempt has taken over"),
        ("not_found", "the workflow has ended"),
        ("paused", "the activity was paused"),
    ],
)
async def test_why_an_activity_was_cancelled_is_told(reason: str, said: str) -> None:
    environment = ActivityEnvironment()

    begun = asyncio.Event()

    async def asked() -> str:
        begun.set()
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            return why_cancelled()
        return "not cancelled"

    running = asyncio.ensure_future(environment.run(asked))
    await begun.wait()
    environment.cancel(ActivityCancellationDetails(**{reason: True}))
    assert await running == said


async def test_rule_07_a_cluster_that_takes_too_long_is_told(bench: Bench) -> None:
    bench.sky.speed = Speed(launch=30)
    error = await error_of(Attempt().begin(bench.activities.run_sky_launch, SkyLaunchCommand(NAME, SLOW, provision_timeout=0.1)))
    assert (error.type, error.non_retryable) == ("SkyProvisionTimeout", False)
    await bench.down()


async def test_rule_11_a_server_that_does_not_answer_is_one_clear_line(bench: Bench) -> None:
    bench.sky.answers = False
    error = await error_of(Attempt().begin(bench.activities.run_sky_launch, SkyLaunchCommand(NAME, SLOW)))
    assert (error.type, error.non_retryable) == ("EndpointUnreachable", False)
    bench.sky.answers = True


async def test_rule_03_a_second_teardown_finds_nothing_to_do(bench: Bench) -> None:
    await bench.launched(SLOW)
    await bench.down()
    await bench.down()
    assert bench.sky.left == []
