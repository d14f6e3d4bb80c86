"""A Temporal server for the session, and a worker on a SkyPilot in memory with a project of tasks that its shell can run."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.service import RPCError
from temporalio.worker import Worker

from sky_orchestrate.cluster import JobStatus
from sky_orchestrate.patience import within
from sky_orchestrate.result import Pace
from sky_orchestrate.settings import Settings
from temporal import steps
from temporal.activities import SkyActivities
from temporal.messages import SkyPilotWorkflowInput
from temporal.run_state import run_states_of
from temporal.worker import make_worker
from temporal.worker_settings import WorkerSettings
from temporal.workflows import SkyPilotWorkflow
from tests.contract import FAST
from tests.fake_sky import FakeServer, Speed
from tests.temporal.attempts import QUICK, Bench, bench_of
from tests.temporal.dev_server import dev_server

_TASKS = {
    "data_preprocessing": """echo '::sky-output::{"run_name": "$RUN_NAME"}'""",
    "train": """
        echo training with $LEARNING_RATE
        sleep 1
        echo '::sky-output::{"validation_accuracy": $LEARNING_RATE, "model_url": "s3://bucket/$RUN_NAME/model.npz"}'
    """,
    "eval": """echo '::sky-output::{"accuracy": 0.97}'""",
    "slow": "echo begun\nsleep 1000",
    "broken": "echo about to break\nexit 3",
}


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    with dev_server() as address:
        yield address


@pytest.fixture
async def client(address: str) -> Client:
    for _ in range(100):
        try:
            return await Client.connect(address)
        except (RuntimeError, RPCError):
            await asyncio.sleep(0.1)
    return await Client.connect(address)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporal's waits between the attempts of an activity, shortened."""
    for name in ("_READ_AGAIN", "_SUBMIT_AGAIN", "_WAIT_AGAIN", "_DOWN_AGAIN"):
        monkeypatch.setattr(steps, name, replace(getattr(steps, name), initial_interval=timedelta(milliseconds=50)))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project")


def make_project(folder: Path) -> Path:
    """A project's folder with tasks/*.yaml."""
    (folder / "tasks").mkdir(parents=True)
    for name, run in _TASKS.items():
        write_task(folder, name, run)
    return folder


def write_task(project: Path, name: str, run: str, *, more: str = "") -> None:
    lines = "\n".join("  " + line.strip() for line in run.strip().splitlines())
    envs = 'envs: {RUN_NAME: "", LEARNING_RATE: "0.1"}'
    (project / "tasks" / f"{name}.yaml").write_text(f"name: {name}\n{envs}\n{more}\nrun: |\n{lines}\n")


@pytest.fixture
async def sky() -> AsyncIterator[FakeServer]:
    """The SkyPilot server that workers talk to. Nothing may be left on it when the test is over."""
    server = FakeServer(Speed())
    yield server
    assert server.left == []


@dataclass(frozen=True)
class Site:
    """Temporal, SkyPilot and the project, for workers of them: each with a SkyPilot client of its own, as on machines of their own."""

    client: Client
    sky: FakeServer
    settings: Settings
    task_queue: str
    pace: Pace = FAST
    shutdown: float = 0.0

    def activities(self) -> SkyActivities:
        return SkyActivities(self.settings, run_states_of(self.client), connect=lambda _: self.sky.client(), pace=self.pace, beats=QUICK)

    def worker(self) -> Worker:
        return make_worker(self.client, self.activities(), WorkerSettings(task_queue=self.task_queue, shutdown=self.shutdown))

    @asynccontextmanager
    async def working(self) -> AsyncIterator[Worker]:
        async with self.worker() as worker:
            yield worker

    async def elsewhere(self) -> Site:
        """The same from another machine: with a connection of its own, as each worker of a queue has."""
        return replace(self, client=await Client.connect(self.client.service_client.config.target_host))

    def with_variables(self, **variables: str) -> Site:
        """The same with what a worker's .env says."""
        return replace(self, settings=replace(self.settings, variables=variables))

    async def start(self, run: Any, argument: Any, **options: Any) -> WorkflowHandle[Any, Any]:
        return await self.client.start_workflow(
            run, argument, id=options.pop("id", f"test-{uuid.uuid4().hex[:8]}"), task_queue=self.task_queue, **options
        )

    async def start_pipeline(self, **fields: Any) -> WorkflowHandle[Any, Any]:
        return await self.start(SkyPilotWorkflow.run, pipeline(**fields))


def pipeline(**fields: Any) -> SkyPilotWorkflowInput:
    return SkyPilotWorkflowInput(**{"retry_delay": 0.01, **fields})


@pytest.fixture
def site(client: Client, sky: FakeServer, project: Path) -> Site:
    return make_site(client, sky, project)


def make_site(client: Client, sky: FakeServer, project: Path) -> Site:
    return Site(client, sky, Settings(root=project, slug="proj", owner="proj"), f"queue-{uuid.uuid4().hex[:8]}")


async def until(condition: Callable[[], object], *, seconds: float = 15.0) -> None:
    """Wait for a condition of the SkyPilot server in memory."""
    async with within(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def running(server: FakeServer, step: str) -> bool:
    """Whether a job of that step runs now."""
    name = f"proj-{step.replace('_', '-')[:10]}"
    jobs = [job for cluster in server.clusters.values() for job in cluster.jobs]
    return any(job.name.startswith(name) and job.status is JobStatus.RUNNING for job in jobs)


def requests(server: FakeServer) -> list[str]:
    """The launches, execs and downs, in order, by the middle of their clusters' names."""
    kinds = ("launch", "exec", "down")
    return [f"{kind} {name.split('-')[1]}" for kind, name in (line.split(" ", 1) for line in server.log) if kind in kinds]


async def failed(handle: WorkflowHandle[Any, Any]) -> ApplicationError:
    """Why a workflow failed: the core's error as its activity told it."""
    with pytest.raises(WorkflowFailureError) as told:
        await handle.result()
    cause = told.value.cause
    inner = cause.cause if isinstance(cause, ActivityError) else cause
    assert isinstance(inner, ApplicationError)
    return inner


async def cancelled(handle: WorkflowHandle[Any, Any]) -> None:
    """Cancel a workflow, and wait until it has ended so."""
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert (await handle.describe()).status == WorkflowExecutionStatus.CANCELED


@pytest.fixture
def bench(sky: FakeServer, project: Path) -> Bench:
    return bench_of(sky, project)


@pytest.fixture
def shown(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The job's lines in the worker's log since the last look."""
    caplog.set_level(logging.INFO, logger="temporal.activities")

    def lines() -> list[str]:
        told = [record.getMessage().partition(": ")[2] for record in caplog.records]
        caplog.clear()
        return told

    return lines
