"""Where the contract suite runs: on the server in memory, or on the local SkyPilot. The same tests hold on both."""

from __future__ import annotations

import asyncio
import os
import subprocess
import uuid
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from sky_orchestrate.cluster import SkyClient
from sky_orchestrate.naming import RunKey
from sky_orchestrate.patience import first
from sky_orchestrate.result import Limits, Pace, TaskResult
from sky_orchestrate.runner import RunOptions, run_task
from sky_orchestrate.task import TaskSpec
from sky_orchestrate.teardown import Teardowns
from tests.fake_sky import FakeServer

FAST = Pace(retry=0.01, patience=1.0, answer=1.0, poll=(0.01, 0.02), health=(0.01, 0.02), lost_after=0.08, lost_poll=0.01, teardown=2.0)
REAL = Pace(retry=1.0, patience=120.0, poll=(5.0, 8.0), health=(10.0, 15.0), lost_after=20.0, lost_poll=4.0, teardown=300.0)


class World(Protocol):
    """One SkyPilot server, seen from outside."""

    @property
    def pace(self) -> Pace: ...

    @property
    def infra(self) -> str | None: ...

    def client(self) -> SkyClient: ...

    async def take_away(self, cluster: str) -> None:
        """The infra takes the cluster's machine."""
        ...

    async def left(self) -> list[str]:
        """What still runs of this test's clusters, told by the infra itself."""
        ...

    async def until_running(self, cluster: str, *, jobs: int = 1) -> None: ...


class FakeWorld:
    pace = FAST
    infra: str | None = None

    def __init__(self) -> None:
        self.server = FakeServer()

    def client(self) -> SkyClient:
        return self.server.client()

    async def take_away(self, cluster: str) -> None:
        self.server.clusters[cluster].lose()

    async def left(self) -> list[str]:
        return self.server.left

    async def until_running(self, cluster: str, *, jobs: int = 1) -> None:
        while cluster not in self.server.clusters or sum(job.status.live for job in self.server.clusters[cluster].jobs) < jobs:
            await asyncio.sleep(0.002)


class LocalWorld:
    """The local SkyPilot, asked about what is left by Slurm's own `squeue`."""

    pace = REAL
    infra: str | None = "slurm"

    def __init__(self, client: SkyClient, slurm_conf: Path, prefix: str) -> None:
        self._client, self._prefix = client, prefix
        self._environ = {**os.environ, "SLURM_CONF": str(slurm_conf)}

    def client(self) -> SkyClient:
        return self._client

    async def take_away(self, cluster: str) -> None:
        for line in self._squeue():
            job, name = line.split(maxsplit=1)
            if name.startswith(cluster):
                await asyncio.to_thread(subprocess.run, ["scancel", job], env=self._environ, check=True)

    async def left(self) -> list[str]:
        clusters = [cluster.name for cluster in await self._client.clusters(refresh=True) if cluster.name.startswith(self._prefix)]
        return clusters + [line for line in self._squeue() if line.split(maxsplit=1)[1].startswith(self._prefix)]

    async def until_running(self, cluster: str, *, jobs: int = 1) -> None:
        while True:
            found = await self._client.cluster(cluster)
            if found is not None and found.up and sum(job.status.live for job in await self._client.queue(cluster)) >= jobs:
                return
            await asyncio.sleep(1)

    def _squeue(self) -> list[str]:
        told = subprocess.run(["squeue", "-h", "-o", "%i %j"], env=self._environ, check=True, capture_output=True, text=True)
        return told.stdout.splitlines()


async def until_running(world: World, cluster: str, run: asyncio.Future[Any]) -> None:
    """Wait for a job on the cluster. A run that ends sooner raises what ended it."""

    async def ended() -> None:
        raise AssertionError(f"it ended before its job ran: {await asyncio.shield(run)}")

    await first(world.until_running(cluster), ended())


def task(run: str = "echo done", *, setup: str = "", name: str = "train", infra: str | None = None, **given: Any) -> TaskSpec:
    """A task as `load_task` would settle it."""
    config: dict[str, Any] = {"name": name, "run": run, "envs": dict(given.pop("envs", {}))}
    if setup:
        config["setup"] = setup
    if infra:
        config["resources"] = {"infra": infra}
    return TaskSpec(name=name, source="test.yaml", config=config, **given)


@dataclass
class Attempt:
    """Attempts at one step of one run, on any number of workers."""

    world: World
    key: RunKey
    options: RunOptions
    lines: list[str] = field(default_factory=list)

    def with_options(self, **changes: Any) -> Attempt:
        return replace(self, options=replace(self.options, **changes), lines=[])

    async def run(
        self,
        spec: TaskSpec,
        *,
        client: SkyClient | None = None,
        user_cancelled: Callable[[], Coroutine[Any, Any, bool]] | None = None,
        teardowns: Teardowns | None = None,
    ) -> TaskResult:
        extra: Mapping[str, Any] = {} if user_cancelled is None else {"user_cancelled": user_cancelled}
        return await run_task(
            spec, self.key, self.options, client=client or self.world.client(), on_log=self.lines.append, teardowns=teardowns, **extra
        )


def attempt(world: World, prefix: str, step: str = "train", *, run: str | None = None, limits: Limits = Limits()) -> Attempt:
    key = RunKey(owner="contract", run=run or f"run-{uuid.uuid4().hex[:8]}", step=step)
    return Attempt(world, key, RunOptions(prefix=prefix, limits=limits, pace=world.pace))
