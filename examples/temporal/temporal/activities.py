"""The activities: the core's launch, wait and teardown, each on its own, so that a retry of one does not repeat another.

They are found again by names that the workflow derives, so any worker can run any of them. SkyPilot is first imported here, in the
worker, and never where workflows run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from temporalio import activity

from sky_orchestrate.client import connect
from sky_orchestrate.cluster import SkyClient
from sky_orchestrate.errors import SettingsError
from sky_orchestrate.following import Following
from sky_orchestrate.logs import JobLog
from sky_orchestrate.naming import RunKey
from sky_orchestrate.reaper import RunState, reap
from sky_orchestrate.result import Limits, Pace, TaskResult
from sky_orchestrate.runner import labels
from sky_orchestrate.settings import Settings
from sky_orchestrate.submission import Launch, Placement, Submission, Submitted
from sky_orchestrate.task import TaskSpec, load_task, read_task
from sky_orchestrate.teardown import tear_down
from temporal.failures import told_to_temporal
from temporal.heartbeat import beating
from temporal.messages import (
    GitCloneInput,
    GitCloneOutput,
    SkyCommand,
    SkyDownCommand,
    SkyExecCommand,
    SkyJob,
    SkyLaunchCommand,
    SkyReapCommand,
    SkyWaitCommand,
    WaitPosition,
)
from temporal.worker_log import teller

_SHOWN_IN_HEARTBEAT = 5
_LONGEST_LINE = 200


@dataclass(frozen=True)
class Beats:
    """Seconds between heartbeats. A cancel is heard with the answer to one, and a launch has to hear of it soon."""

    launch: float = 2.0
    wait: float = 8.0


class SkyActivities:
    """All activities of a worker, on its one SkyPilot client. `run_state` asks Temporal about a run, for the reaper."""

    def __init__(
        self,
        settings: Settings,
        run_state: Callable[[str], Awaitable[RunState | None]],
        *,
        connect: Callable[[Settings], SkyClient] = connect,
        pace: Pace = Pace(),
        beats: Beats = Beats(),
    ) -> None:
        self._settings, self._run_state, self._connect = settings, run_state, connect
        self._pace, self._beats = pace, beats
        self._clients: dict[str, SkyClient] = {}

    @property
    def all(self) -> list[Callable[..., Any]]:
        """What a worker registers."""
        return [self.run_git_clone, self.run_sky_launch, self.run_sky_exec, self.run_sky_wait, self.run_sky_down, self.run_sky_reap]

    @activity.defn
    async def run_git_clone(self, command: GitCloneInput) -> GitCloneOutput:
        """Read the task files at one commit, and check each with what is laid over it, and the endpoint, before anything is launched."""

        def read() -> GitCloneOutput:
            contents: dict[str, str] = {}
            names: dict[str, str] = {}
            commit = command.branch or ""
            for path in command.yaml_file_paths:
                contents[path], commit = self._text(command, path, commit)
                task = self._task(
                    SkyCommand(
                        yaml_content=contents[path],
                        yaml_path=path,
                        repo_url=command.repo_url,
                        commit=commit,
                        envs_override=command.envs_override,
                        secrets=command.secrets,
                        infra=command.infra,
                    )
                )
                names[path], commit = task.name, task.origin.commit if task.origin else commit
            told = f"{len(contents)} task files" + (f" at {commit[:10]}" if command.repo_url else "")
            return GitCloneOutput(message=told, yaml_contents=contents, names=names, commit=commit, prefix=self._settings.slug)

        async def checked() -> GitCloneOutput:
            found = await asyncio.to_thread(read)
            await self._client(command.api_server_endpoint)
            return found

        return await beating(checked(), every=self._beats.launch)

    @activity.defn
    async def run_sky_launch(self, command: SkyLaunchCommand) -> SkyJob:
        """Get the task's job onto its cluster, and return as soon as the cluster has taken it."""
        return await beating(self._submitted(command), every=self._beats.launch)

    @activity.defn
    async def run_sky_exec(self, command: SkyExecCommand) -> SkyJob:
        """The same on a cluster that is up: without setup where the cluster is set up for the task, after the job that is there."""
        return await beating(self._submitted(command), every=self._beats.launch)

    @activity.defn
    async def run_sky_wait(self, command: SkyWaitCommand) -> TaskResult:
        """Follow the job's log to its end. The next attempt goes on where the last heartbeat was."""
        job, before = command.job, _last_position(command.job.job_id)
        with told_to_temporal():
            log = JobLog(job.job_name, teller(), secrets=self._secrets(command.secrets).values(), shown=before.lines)
            following = Following(
                await self._client(command.api_server_endpoint),
                Placement(job.cluster_name, job.job_name, shared=False),
                Submitted(job.job_id, job.found, job.first, before.started_at or job.started_at),
                log,
                limits=Limits(queued=command.queued_timeout, run=command.run_timeout),
                pace=self._pace,
                say=teller(),
                submitted_at=job.submitted_at,
            )

        if activity.info().attempt > 1:
            teller()(f"attached to job {job.job_id} on {job.cluster_name}, {before.lines} lines into its log")

        def position() -> WaitPosition:
            last = [line[:_LONGEST_LINE] for line in list(log.tail)[-_SHOWN_IN_HEARTBEAT:]]
            return WaitPosition(job.cluster_name, following.job_id, max(log.lines, before.lines), following.started_at, last)

        return await beating(following.result(provisioned=job.provisioned), every=self._beats.wait, position=position)

    @activity.defn
    async def run_sky_down(self, command: SkyDownCommand) -> float:
        """Take the cluster down and show that it is gone; returns the seconds it took."""

        async def down() -> float:
            client = await self._client(command.api_server_endpoint)
            return round(await tear_down(client, command.cluster_name, pace=self._pace), 1)

        return await beating(down(), every=self._beats.launch)

    @activity.defn
    async def run_sky_reap(self, command: SkyReapCommand) -> list[dict[str, str]]:
        """Take down the clusters of runs that Temporal calls over; fails where one could not be shown to be gone."""

        async def reaped() -> list[dict[str, str]]:
            client, say = await self._client(command.api_server_endpoint), teller()
            found = await reap(
                client,
                owner=self._settings.owner,
                run_state=self._run_state,
                grace=self._settings.reaper_grace,
                dry_run=command.dry_run,
                pace=self._pace,
            )
            for one in found:
                say(f"{one.cluster}: {one.action}: {one.reason}")
            return [{"cluster": one.cluster, "run": one.run, "action": one.action, "reason": one.reason} for one in found]

        return await beating(reaped(), every=self._beats.wait)

    async def _submitted(self, command: SkyCommand) -> SkyJob:
        began = time.monotonic()
        client = await self._client(command.api_server_endpoint)
        task = await asyncio.to_thread(self._task, command)
        job_name = command.job_name or command.cluster_name
        run = RunKey(self._settings.owner, _run_id(), job_name)
        submission = Submission(
            client,
            task,
            Placement(command.cluster_name, job_name, shared=bool(command.job_name)),
            Launch(labels(run, task, keep=command.keep), None if command.keep else self._settings.idle_minutes, command.wait_for_capacity),
            limits=Limits(provision=command.provision_timeout),
            pace=self._pace,
            say=teller(),
        )
        try:
            submitted = await submission.submitted()
        except asyncio.CancelledError:
            # A launch cannot be unsent. The teardown that follows has to find it.
            await submission.sent()
            raise
        return SkyJob(
            cluster_name=command.cluster_name,
            job_name=job_name,
            job_id=submitted.job_id,
            found=submitted.found,
            first=submitted.first,
            started_at=submitted.started_at,
            submitted_at=time.time(),
            provisioned=round(time.monotonic() - began, 1),
        )

    def _text(self, command: GitCloneInput, path: str, ref: str) -> tuple[str, str]:
        """A task's text, given or read, and where in the repository it stands: a commit once it was read."""
        if path in command.yaml_contents:
            return command.yaml_contents[path], ref
        base = command.repo_url or None
        found = read_task(path, base_path=base, git_ref=ref or None, settings=self._settings, run=_run_id())
        return found.text, found.commit

    def _task(self, command: SkyCommand) -> TaskSpec:
        return load_task(
            yaml_text=command.yaml_content,
            said=command.yaml_path,
            base_path=command.repo_url or ".",
            git_ref=command.commit or None,
            envs=command.envs_override,
            secrets=self._secrets(command.secrets),
            infra=command.infra,
            resources=command.resources,
            settings=self._settings,
        )

    def _secrets(self, names: Mapping[str, str] | None) -> dict[str, str]:
        """The values, by the task's names. Raises SettingsError for one that this worker does not have."""
        values = {name: self._settings.variable(source) for name, source in (names or {}).items()}
        for name, source in (names or {}).items():
            if not values[name]:
                raise SettingsError(f"secret {name}: neither this worker's environment nor its .env has a value for {source}")
        return values

    async def _client(self, endpoint: str | None) -> SkyClient:
        """The worker's client, at a server that answers. Raises EndpointError kinds."""
        settings = self._settings.at(endpoint)
        if settings.endpoint not in self._clients:
            self._clients[settings.endpoint] = self._connect(settings)
        client = self._clients[settings.endpoint]
        await client.server()
        return client


def _run_id() -> str:
    """What the reaper asks Temporal about: the run of the workflow that this activity belongs to."""
    run_id = activity.info().workflow_run_id
    assert run_id is not None
    return run_id


def _last_position(job_id: int) -> WaitPosition:
    """What the attempt before had come to with this job, whatever version of the worker told it."""
    told = activity.info().heartbeat_details
    if not told or not isinstance(told[0], Mapping) or told[0].get("job_id", job_id) != job_id:
        return WaitPosition()
    lines, started_at = told[0].get("lines"), told[0].get("started_at")
    return WaitPosition(
        lines=lines if isinstance(lines, int) else 0, started_at=started_at if isinstance(started_at, (int, float)) else None
    )
