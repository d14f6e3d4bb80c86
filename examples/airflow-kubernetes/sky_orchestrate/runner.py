"""One SkyPilot task, run safely: launch or attach, wait, tear down. Every orchestrator's glue calls `run_task`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sky_orchestrate import errors, naming
from sky_orchestrate.cluster import SkyClient
from sky_orchestrate.following import Following
from sky_orchestrate.logs import JobLog
from sky_orchestrate.naming import RunKey
from sky_orchestrate.patience import finish
from sky_orchestrate.result import Limits, Pace, TaskResult
from sky_orchestrate.submission import Launch, Placement, Submission
from sky_orchestrate.task import TaskSpec
from sky_orchestrate.teardown import Teardowns, tear_down


async def _nobody_cancelled() -> bool:
    return False


@dataclass(frozen=True)
class RunOptions:
    """How a step is run, whatever the task.

    `prefix`: the start of the cluster's name. `cluster`: the name of a cluster that several steps share; its owner takes it down.
    `keep`: leave the cluster after success or failure of the job, on purpose, with no autodown. `idle_minutes`: autodown after so many
    minutes without a job. `wait_for_capacity`: SkyPilot's retry_until_up, under the provisioning limit. `labels` are marks of the
    orchestrator's own on the cluster, beside those the reaper goes by.
    """

    prefix: str
    cluster: str | None = None
    keep: bool = False
    idle_minutes: int = 10
    wait_for_capacity: bool = False
    limits: Limits = Limits()
    pace: Pace = Pace()
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


async def run_task(
    task: TaskSpec,
    key: RunKey,
    options: RunOptions,
    *,
    client: SkyClient,
    on_log: Callable[[str], None],
    user_cancelled: Callable[[], Coroutine[Any, Any, bool]] = _nobody_cancelled,
    teardowns: Teardowns | None = None,
) -> TaskResult:
    """Run `task` as the step that `key` names, once, and leave nothing running.

    A second call with the same key, here or on another worker, attaches to what the first one started. `on_log` gets the job's lines and
    ours. `user_cancelled` is asked when the awaiting task is cancelled: True takes the cluster down, False (the worker is going
    away) leaves it for the next attempt. With `teardowns`, the cluster of a success goes down in that scope while the pipeline goes on.

    Raises SkyJobFailed, SkyTimeout kinds, SkyClusterLost, LaunchError kinds, EndpointError kinds, SkyTeardownFailed.
    """
    await client.server()
    step = Step(task, key, options, client=client, on_log=on_log)
    try:
        return await step.run(teardowns)
    except asyncio.CancelledError:
        # One piece of work: a second cancel in the middle of it must not end it between the question and the teardown.
        await finish(step.end_cancelled(user_cancelled))
        raise


class Step:
    """One attempt at one step."""

    def __init__(self, task: TaskSpec, key: RunKey, options: RunOptions, *, client: SkyClient, on_log: Callable[[str], None]) -> None:
        self._client, self._options, self._on_log = client, options, on_log
        job = naming.cluster_name(options.prefix, task.name, key)
        self.place = Placement(options.cluster or job, job, shared=options.cluster is not None)
        marks = {**options.labels, **labels(key, task, keep=options.keep)}
        launch = Launch(marks, None if options.keep else options.idle_minutes, options.wait_for_capacity)
        self._submission = Submission(client, task, self.place, launch, limits=options.limits, pace=options.pace, say=on_log)
        self._log = JobLog(job, on_log, secrets=task.secrets.values())

    async def run(self, teardowns: Teardowns | None) -> TaskResult:
        try:
            result = await self.ran()
        except errors.SkyOrchestrateError as error:
            if self.takes_down_after(error):
                await self._after_failure(error)
            raise
        if not self.takes_down_after(None):
            return result
        if teardowns is not None:
            teardowns.start(self.tear_down())
            return result
        torn_down = await finish(self.tear_down())
        return replace(result, timings=replace(result.timings, torn_down=round(torn_down, 1)))

    def takes_down_after(self, error: errors.SkyOrchestrateError | None) -> bool:
        """Whether this step's cluster goes down after that end of it; None is success. Where it is kept on purpose, that is said."""
        failed = isinstance(error, errors.SkyJobFailed)
        if isinstance(error, errors.OUT_OF_REACH):
            return False
        if self.place.shared:
            # A failed job is for the next attempt on the same cluster; whoever owns it takes it down.
            return error is not None and not failed
        if self._options.keep and (error is None or failed):
            self._on_log(f"keeping {self.place.cluster} as asked: it costs until `sky down {self.place.cluster}`")
            return False
        return True

    async def end_cancelled(self, user_cancelled: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        if not await user_cancelled():
            self._on_log(f"this worker is going away: {self.place.cluster} stays for the next attempt")
            return
        self._on_log(f"cancelled: taking down {self.place.cluster}")
        try:
            await self.tear_down()
        except errors.SkyOrchestrateError as error:
            # The cancellation is what is raised: it would hide this.
            self._on_log(str(error))

    async def tear_down(self) -> float:
        return await tear_down(self._client, self.place.cluster, pace=self._options.pace, sending=self._submission.sending)

    async def ran(self) -> TaskResult:
        """The job's result, launched or attached to, with the cluster left as it is: for callers that take it down elsewhere."""
        began = time.monotonic()
        submitted = await self._submission.submitted()
        provisioned = time.monotonic() - began
        if submitted.found:
            self._on_log(f"attached to job {submitted.job_id} on {self.place.cluster}; its log from the first line:")
        following = Following(
            self._client, self.place, submitted, self._log, limits=self._options.limits, pace=self._options.pace, say=self._on_log
        )
        return await following.result(provisioned=provisioned)

    async def _after_failure(self, error: errors.SkyOrchestrateError) -> None:
        """Awaited before the error is raised: a retry starts on a clean slate. The error itself is not lost to a failing teardown."""
        try:
            await finish(self.tear_down())
        except errors.SkyTeardownFailed as failed:
            raise failed from error


def labels(key: RunKey, task: TaskSpec, *, keep: bool) -> dict[str, str]:
    """What the reaper goes by (owner, run, keep), and what a step that shares the cluster compares its own setup with."""
    marks: dict[str, Any] = {"owner": naming.label(key.owner), "run": naming.label(key.run), "setup": task.setup_digest}
    return {**marks, "keep": "1"} if keep else marks


def run_task_sync(
    task: TaskSpec,
    key: RunKey,
    options: RunOptions,
    *,
    client: SkyClient,
    on_log: Callable[[str], None],
    user_cancelled: Callable[[], Coroutine[Any, Any, bool]] = _nobody_cancelled,
) -> TaskResult:
    """`run_task` for callers without an event loop; the cluster is gone when it returns, for no loop is left to take it down later."""
    return asyncio.run(run_task(task, key, options, client=client, on_log=on_log, user_cancelled=user_cancelled))
