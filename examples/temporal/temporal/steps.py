"""Steps of a workflow: launch or exec, wait, try again where that can help, and every cluster taken down before the workflow ends.

All of this is replayed: names come from the run's id, and nothing here asks the clock, the disk or SkyPilot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import TracebackType
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception
from temporalio.workflow import ActivityCancellationType, ActivityHandle

with workflow.unsafe.imports_passed_through():
    from sky_orchestrate import naming
    from sky_orchestrate.naming import RunKey
    from sky_orchestrate.result import Limits, TaskResult
    from temporal.activities import SkyActivities
    from temporal.failures import ENDS_THE_STEP, LEAVES_THE_CLUSTER, OUT_OF_REACH, innermost
    from temporal.heartbeat import WORKER_GOES_AWAY
    from temporal.messages import (
        GitCloneInput,
        GitCloneOutput,
        SkyCommand,
        SkyDownCommand,
        SkyExecCommand,
        SkyJob,
        SkyWaitCommand,
    )

T = TypeVar("T")

HEARTBEAT = timedelta(seconds=30)
# Jobs have their own limits (`Limits`); these are for an activity that nobody limits.
_LONGEST_LAUNCH = timedelta(days=1)
_LONGEST_JOB = timedelta(days=365)
_LONGEST_TEARDOWN = timedelta(hours=1)
_VERDICTS = sorted(ENDS_THE_STEP)

_READ_AGAIN = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=3)
_SUBMIT_AGAIN = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30), maximum_attempts=10, non_retryable_error_types=_VERDICTS
)
# A job runs on whatever becomes of those who wait for it: they come back until it has a verdict.
_WAIT_AGAIN = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=60), non_retryable_error_types=_VERDICTS
)
# Counted, not timed: while no worker is up a teardown waits for one, and nothing has been tried.
_DOWN_AGAIN = RetryPolicy(initial_interval=timedelta(seconds=2), maximum_interval=timedelta(seconds=60), maximum_attempts=10)


async def heeding(work: asyncio.Task[T]) -> T:
    """The result of an activity or a child workflow. A cancel that meets its success is raised: Temporal's own await drops it."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        work.cancel()
        await workflow.wait([work])
        raise


async def read_tasks(command: GitCloneInput) -> GitCloneOutput:
    """The text of the task files, checked: bad input ends the workflow here, with nothing launched."""
    reading = workflow.start_activity_method(
        SkyActivities.run_git_clone,
        command,
        start_to_close_timeout=timedelta(minutes=10),
        heartbeat_timeout=HEARTBEAT,
        retry_policy=_READ_AGAIN,
        summary=f"{command.repo_url or 'the project'}: {', '.join(command.yaml_file_paths)}",
    )
    return await heeding(reading)


class SkySteps:
    """The clusters of one workflow run. `async with`: leaving takes down whatever is up, and ends when all is shown to be gone.

    `note` is told of each job as soon as its cluster has taken it.
    """

    def __init__(
        self, prefix: str, *, endpoint: str | None, attempts: int, retry_delay: float, limits: Limits, note: Callable[[str, SkyJob], None]
    ) -> None:
        self._prefix, self._endpoint, self._limits, self._note = prefix, endpoint, limits, note
        self._attempts, self._retry_delay = attempts, retry_delay
        self._up: set[str] = set()
        self._going: dict[str, ActivityHandle[float]] = {}

    def name(self, step: str) -> str:
        """The cluster or job of a step: the same at each replay, and another in each run."""
        info = workflow.info()
        return naming.cluster_name(self._prefix, step, RunKey(info.workflow_id, info.run_id, step))

    async def run(self, step: str, command: SkyCommand) -> TaskResult:
        """The result of the step's job. Raises ActivityError whose cause has the core's error as its type.

        Each attempt after a failure starts on a clean slate, but on a shared cluster a failed job leaves it for the next one.
        """
        attempt = 1
        while True:
            try:
                return await self._attempt(step, command)
            except ActivityError as error:
                cause = error.cause
                if is_cancelled_exception(error) or not isinstance(cause, ApplicationError) or cause.type not in ENDS_THE_STEP:
                    self._lose_sight(command.cluster_name, cause)
                    raise
                job_failed, last = cause.type in LEAVES_THE_CLUSTER, cause.non_retryable or attempt >= self._attempts
                if not (job_failed and (command.keep or isinstance(command, SkyExecCommand))):
                    await asyncio.shield(self.take_down(command.cluster_name))
                elif command.keep and last:
                    # Not sooner: a cancel before the next attempt takes it down.
                    self.keep(command.cluster_name)
                if last:
                    raise
                workflow.logger.warning(f"{step}: attempt {attempt} of {self._attempts} failed: {cause.message}")
            attempt += 1
            await asyncio.sleep(self._retry_delay)

    def keep(self, cluster: str) -> None:
        """Leave it up after the end, on purpose."""
        self._up.discard(cluster)

    def take_down(self, cluster: str) -> ActivityHandle[float]:
        """Ask for the teardown at once; whether to wait for it, shielded from a cancel, is the caller's to decide."""
        self._up.discard(cluster)
        self._going[cluster] = workflow.start_activity_method(
            SkyActivities.run_sky_down,
            SkyDownCommand(cluster, self._endpoint),
            start_to_close_timeout=_LONGEST_TEARDOWN,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=_DOWN_AGAIN,
            cancellation_type=ActivityCancellationType.ABANDON,
            summary=cluster,
        )
        return self._going[cluster]

    async def all_gone(self) -> dict[str, float]:
        """The seconds that each teardown took. Raises ApplicationError naming the clusters that could not be shown to be gone."""
        for cluster in sorted(self._up):
            self.take_down(cluster)
        ended: list[Any] = await asyncio.gather(*(asyncio.shield(going) for going in self._going.values()), return_exceptions=True)
        left = {name: _reason(end) for name, end in zip(self._going, ended, strict=True) if isinstance(end, BaseException)}
        if left:
            told = "; ".join(f"{name}: {reason}" for name, reason in left.items())
            raise ApplicationError(f"may still cost money, run `sky down`: {told}", type="SkyTeardownFailed", non_retryable=True)
        return dict(zip(self._going, ended, strict=True))

    async def __aenter__(self) -> SkySteps:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            try:
                await self.all_gone()
            except asyncio.CancelledError:
                # The workflow's end would end its teardowns: a cancel that comes this late waits for them too.
                await self.all_gone()
                raise
        except ApplicationError as left:
            raise left from error

    async def _attempt(self, step: str, command: SkyCommand) -> TaskResult:
        self._up.add(command.cluster_name)
        going = self._going.pop(command.cluster_name, None)
        if going is not None:
            await asyncio.shield(going)
        job = await self._submitted(step, command)
        self._note(step, job)
        waiting = workflow.start_activity_method(
            SkyActivities.run_sky_wait,
            SkyWaitCommand(job, self._endpoint, command.secrets, self._limits.queued, self._limits.run),
            start_to_close_timeout=_LONGEST_JOB,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=_WAIT_AGAIN,
            # The teardown does not wait until the activity has heard of the cancel.
            cancellation_type=ActivityCancellationType.TRY_CANCEL,
            summary=f"{step}: job {job.job_id} on {job.cluster_name}",
        )
        return await heeding(waiting)

    async def _submitted(self, step: str, command: SkyCommand) -> SkyJob:
        while True:
            try:
                return await self._submit(command)
            except ActivityError as error:
                # A roll-out of many workers is no failure of a launch that takes long.
                if not (isinstance(error.cause, ApplicationError) and error.cause.type == WORKER_GOES_AWAY):
                    raise
                workflow.logger.info(f"{step}: its workers went away during the launch; the next one looks for it")
                # Not at once: see temporal.heartbeat.
                await asyncio.sleep(1)

    async def _submit(self, command: SkyCommand) -> SkyJob:
        asked = replace(command, api_server_endpoint=self._endpoint, provision_timeout=self._limits.provision)
        submit: Any = SkyActivities.run_sky_exec if isinstance(command, SkyExecCommand) else SkyActivities.run_sky_launch
        submitting = workflow.start_activity_method(
            submit,
            asked,
            start_to_close_timeout=_LONGEST_LAUNCH,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=_SUBMIT_AGAIN,
            # A launch on its way cannot be unsent: the teardown comes when it is known where it went.
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=f"{command.yaml_path} on {command.cluster_name}",
        )
        return await heeding(submitting)

    def _lose_sight(self, cluster: str, cause: BaseException | None) -> None:
        """Whoever cannot be asked cannot be told to take a cluster down: autodown and the reaper can."""
        if isinstance(cause, ApplicationError) and cause.type in OUT_OF_REACH:
            workflow.logger.error(f"{cluster} is out of reach: autodown takes it, or the reaper once the server answers again")
            self._up.discard(cluster)


def _reason(error: BaseException) -> str:
    cause = innermost(error)
    return cause.message if isinstance(cause, ApplicationError) else str(cause)
