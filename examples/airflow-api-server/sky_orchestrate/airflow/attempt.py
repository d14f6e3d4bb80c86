"""One attempt at one step, from the plain data that travels between worker and triggerer to the verdict that comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from airflow.sdk.bases.xcom import BaseXCom

from sky_orchestrate.airflow.hook import SkyHook
from sky_orchestrate.airflow.runs import AirflowRun
from sky_orchestrate.airflow.secret_values import secret_values
from sky_orchestrate.errors import SkyOrchestrateError
from sky_orchestrate.patience import finish, within
from sky_orchestrate.result import Limits, TaskResult
from sky_orchestrate.runner import RunOptions, Step
from sky_orchestrate.settings import Settings
from sky_orchestrate.task import TaskSpec, load_task


@dataclass(frozen=True)
class StepRequest:
    """What is asked for, as plain JSON data: it stands in Airflow's database while the task is deferred.

    `secrets` are names, never values. `cluster_name` is a cluster's that steps share; `deadline` is the task's own, in Unix seconds. The
    other fields are SkyTaskOperator's.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    conn_id: str
    prefix: str
    yaml_path: str | None = None
    base_path: str | None = None
    task_yaml: str | None = None
    git_ref: str | None = None
    envs: dict[str, str] = field(default_factory=dict[str, str])
    secrets: dict[str, str] = field(default_factory=dict[str, str])
    infra: str | None = None
    resources: dict[str, Any] = field(default_factory=dict[str, Any])
    cluster_name: str | None = None
    keep: bool = False
    wait_for_capacity: bool = False
    provision_timeout: float | None = None
    queued_timeout: float | None = None
    run_timeout: float | None = None
    deadline: float | None = None

    @property
    def run(self) -> AirflowRun:
        return AirflowRun(self.dag_id, self.run_id)

    @property
    def step_id(self) -> tuple[str, str, str, int]:
        """What its attempts have in common."""
        return self.dag_id, self.run_id, self.task_id, self.map_index

    def load(self, settings: Settings) -> TaskSpec:
        """The task with its secrets' values. Blocks while Airflow and Git are asked; raises TaskFileError and SettingsError."""
        return load_task(
            self.yaml_path,
            base_path=self.base_path,
            yaml_text=self.task_yaml,
            git_ref=self.git_ref,
            envs=self.envs,
            secrets=secret_values(self.secrets, settings),
            infra=self.infra,
            resources=self.resources,
            settings=settings,
            run=self.run.name,
        )

    def step(self, task: TaskSpec, settings: Settings, hook: SkyHook, say: Callable[[str], None]) -> Step:
        """The core's step. Call it where an event loop runs."""
        options = RunOptions(
            prefix=self.prefix,
            cluster=self.cluster_name,
            keep=self.keep,
            idle_minutes=settings.idle_minutes,
            wait_for_capacity=self.wait_for_capacity,
            limits=Limits(self.provision_timeout, self.queued_timeout, self.run_timeout),
            pace=hook.pace,
            labels=self.run.labels,
        )
        key = self.run.key(settings.owner, self.task_id, self.map_index)
        return Step(task, key, options, client=hook.client(settings), on_log=say)


@dataclass(frozen=True)
class Verdict:
    """How a job ended, as plain JSON data. Either `result` is TaskResult's data, or `error` says why there is none.

    `tear_down` is the cluster that has to go now, `retryable` whether another attempt can help.
    """

    result: dict[str, Any] | None = None
    error: str = ""
    retryable: bool = False
    timed_out: bool = False
    tear_down: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def xcoms(self, key: str, *, torn_down: float | None = None) -> dict[str, Any]:
        """What a success leaves in XCom: its result at `key`; where that is not what the task returns, it returns its cluster's name."""
        result = self.result or {}
        timings = {**result["timings"], "torn_down": torn_down}
        return {BaseXCom.XCOM_RETURN_KEY: str(result["cluster_name"]), key: {**result, "timings": timings}}


class Attempt:
    """One attempt, in a trigger or on a worker."""

    # What this process takes down for users that cancelled: a task that was cleared is here again while its cluster still goes down.
    _ending: ClassVar[dict[tuple[str, str, str, int], asyncio.Event]] = {}

    def __init__(self, request: StepRequest, say: Callable[[str], None]) -> None:
        self._request, self._say = request, say
        self._hook = SkyHook(request.conn_id)
        self._step: Step | None = None

    async def verdict(self) -> Verdict:
        """Launch or attach, and wait. The cluster stays as it is: who hears the verdict takes it down."""
        try:
            step = await self._ready()
            before = self._ending.get(self._request.step_id)
            if before is not None:
                self._say(f"{step.place.cluster} still goes down for the attempt before: waiting for that")
                await before.wait()
            return await self._ran(step)
        except SkyOrchestrateError as error:
            return self._failed(error)

    async def end_cancelled(self, user_cancelled: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        """After the wait was cancelled: the cluster goes down where the user cancelled, else it stays for the next attempt."""

        over = self._ending[self._request.step_id] = asyncio.Event()

        async def ended() -> None:
            try:
                await (await self._ready()).end_cancelled(user_cancelled)
            finally:
                over.set()
                if self._ending.get(self._request.step_id) is over:
                    del self._ending[self._request.step_id]

        # A triggerer cancels again every second until it has ended: the first question must not be lost to that either.
        await finish(ended())

    async def _ready(self) -> Step:
        if self._step is None:
            settings = await asyncio.to_thread(self._hook.settings)
            task = await asyncio.to_thread(self._request.load, settings)
            step = self._request.step(task, settings, self._hook, self._say)
            await self._hook.client(settings).server()
            self._step = step
        return self._step

    async def _ran(self, step: Step) -> Verdict:
        deadline = self._request.deadline
        try:
            async with within(None if deadline is None else max(0.0, deadline - time.time())):
                return self._succeeded(step, await step.ran())
        except asyncio.TimeoutError:
            told = f"{step.place.cluster}: the task's execution_timeout is over"
            return Verdict(error=told, retryable=True, timed_out=True, tear_down=step.place.cluster)

    def _succeeded(self, step: Step, result: TaskResult) -> Verdict:
        return Verdict(result.as_dict(), tear_down=step.place.cluster if step.takes_down_after(None) else "")

    def _failed(self, error: SkyOrchestrateError) -> Verdict:
        goes = self._step is not None and self._step.takes_down_after(error)
        cluster = self._step.place.cluster if self._step is not None and goes else ""
        return Verdict(error=str(error), retryable=error.retryable, tear_down=cluster)


def verdict_of(told: Mapping[str, Any]) -> Verdict:
    """A verdict that comes back from Airflow's database, whichever version of the project put it there."""
    return Verdict(**{name: told[name] for name in Verdict.__dataclass_fields__ if name in told})
