"""A real Temporal server and its workers, and workflow runs as the server tells of them.

Every flavour has such a module, with the names that the tests of all flavours use: Orchestra, Run and serve.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError

from sky_orchestrate.result import Limits
from temporal.dev_server import find_temporal, start_dev
from temporal.following import failure
from temporal.messages import TASK_QUEUE, SkyPilotWorkflowInput, SkyReapCommand, SkyTaskInput
from temporal.reaper import SkyReaperWorkflow
from temporal.workflows import SkyPilotWorkflow, SkyTaskWorkflow
from tests.e2e.processes import Household, kill_9, until
from tests.temporal.dev_server import free_ports

T = TypeVar("T")

_VERDICTS = {
    WorkflowExecutionStatus.COMPLETED: "Completed",
    WorkflowExecutionStatus.FAILED: "Failed",
    WorkflowExecutionStatus.CANCELED: "Cancelled",
    WorkflowExecutionStatus.TERMINATED: "Terminated",
    WorkflowExecutionStatus.TIMED_OUT: "TimedOut",
}


@dataclass
class Run:
    """A run of a workflow."""

    handle: WorkflowHandle[Any, Any]
    loop: asyncio.AbstractEventLoop
    log: Path

    def ask(self, question: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(question)

    @property
    def id(self) -> str:
        return self.handle.id

    @property
    def name(self) -> str:
        """What the pipeline's data of this run are called."""
        return self.handle.first_execution_run_id or ""

    @property
    def status(self) -> WorkflowExecutionStatus | None:
        return self.ask(self.handle.describe()).status

    @property
    def over(self) -> bool:
        return self.status in _VERDICTS

    @property
    def message(self) -> str:
        """Why it failed, in the core's words."""
        try:
            self.ask(self.handle.result())
        except WorkflowFailureError as error:
            return str(failure(error, self.id))
        return ""

    @property
    def retried(self) -> bool:
        """Whether any activity was tried again."""
        return any(event.activity_task_started_event_attributes.attempt > 1 for event in self.history)

    @property
    def history(self) -> list[Any]:
        return list(self.ask(self.handle.fetch_history()).events)

    @property
    def result(self) -> Any:
        """What the workflow returned, as plain data."""
        return asdict(self.ask(self.handle.result()))

    @property
    def record(self) -> str:
        """All that the server keeps of it, payloads decoded, and what its workers logged."""
        return "\n".join([*self.logs, *(str(event) for event in self.history), str(self.ask(self.ask(self.handle.describe()).memo()))])

    @property
    def logs(self) -> list[str]:
        """The workers' lines on it, in order; of a failed job the history has the last ones too."""
        parts = [line.partition(f" {self.id}: ") for line in self.log.read_text(errors="replace").splitlines()]
        return [f"{when} {text}" for when, mine, text in parts if mine]

    def says(self, text: str) -> bool:
        return any(text in line for line in self.logs) or (self.over and text in self.message)

    def assert_says(self, text: str) -> None:
        until(f"the run's log has: {text}", lambda: self.says(text), within=10)

    def verdict(self, *, within: float) -> str:
        """Completed, Failed, Cancelled, Terminated or TimedOut."""
        return until(f"an end of {self.id}", lambda: _VERDICTS.get(self.status or WorkflowExecutionStatus.RUNNING), within=within)

    def until_running(self, *, within: float = 60) -> None:
        until(f"{self.id} runs", lambda: self.status == WorkflowExecutionStatus.RUNNING, within=within)

    def cancel(self) -> None:
        """As the UI's button and `temporal workflow cancel` do."""
        self.ask(self.handle.cancel())

    def terminate(self) -> None:
        """As the UI's button does: no code of the workflow runs any more."""
        self.ask(self.handle.terminate("test"))

    def lost(self, *, within: float) -> None:
        """Its worker was killed and its user gave it up: nothing of it runs any more."""
        self.terminate()


@dataclass
class Orchestra:
    """The server, and its workers; `worker` is the one that the tests kill."""

    household: Household
    address: str
    loop: asyncio.AbstractEventLoop
    client: Client
    temporal: str
    server: psutil.Process | None = None
    worker: psutil.Process | None = None
    runs: list[Run] = field(default_factory=list)
    _special: dict[str, str] = field(default_factory=dict)
    _secrets: dict[str, str] = field(default_factory=dict)
    _stale: bool = False

    @property
    def log(self) -> Path:
        return self.household.folder / "worker.log"

    def start_worker(self, *, home: Path | None = None, environ: Mapping[str, str] | None = None) -> psutil.Process:
        """`home` makes it another machine's: another user to SkyPilot."""
        given = {**self._secrets, **({} if home is None else {"HOME": str(home)}), **(environ or {})}
        self.worker = self.household.start("run_worker.py", log="worker", environ=given)
        return self.worker

    def keep_a_worker(self, environ: Mapping[str, str] | None = None) -> None:
        """One worker with this environment beside the usual; another one goes first. A process has one SkyPilot endpoint for good."""
        wanted = dict(environ or {})
        alive = self.worker is not None and self.worker.is_running() and self.worker.status() != psutil.STATUS_ZOMBIE
        if alive and wanted == self._special and not self._stale:
            return
        if alive:
            self.stop_worker()
        self._special, self._stale = wanted, False
        self.start_worker(environ=wanted)

    def stop_worker(self) -> None:
        """As a redeploy does: SIGTERM, and its end is waited for."""
        assert self.worker is not None
        self.worker.terminate()
        self.worker.wait(timeout=60)
        self.worker = None

    def kill_worker(self) -> None:
        assert self.worker is not None
        kill_9(self.worker)
        self.worker = None

    def next_attempt(self, run: Run, *, home: Path | None = None) -> None:
        """After the worker was killed: another one, which Temporal gives the activity once its heartbeats are missed."""
        self.start_worker(home=home)

    def keep_secret(self, name: str, value: str) -> None:
        """In the environment of workers from now on."""
        self._secrets[name] = value
        self._stale = True
        self.keep_a_worker()

    def step(self, task_yaml: str, *, retries: int = 0, environ: Mapping[str, str] | None = None, **arguments: Any) -> Run:
        """A run of one step; `environ` is for the worker that carries it out."""
        endpoint = arguments.pop("api_server_endpoint", None)
        self.keep_a_worker({**(environ or {}), **({"SKYPILOT_API_SERVER_ENDPOINT": endpoint} if endpoint else {})})
        limits = Limits(run=arguments.pop("run_timeout", None))
        asked = SkyTaskInput(
            yaml_content=task_yaml, attempts=retries + 1, retry_delay=1, api_server_endpoint=endpoint, limits=limits, **arguments
        )
        return self.start(SkyTaskWorkflow.run, asked)

    def pipeline(self, *, envs: Mapping[str, str] | None = None, secrets: Mapping[str, str] | None = None) -> Run:
        asked = SkyPilotWorkflowInput(envs_override=dict(envs or {}), secrets=dict(secrets or {}))
        return self.start(SkyPilotWorkflow.run, asked)

    def reap(self) -> Run:
        """A run of the reaper, with no grace."""
        self.keep_a_worker({"SKY_ORCHESTRATE_REAPER_GRACE": "0"})
        return self.start(SkyReaperWorkflow.run, SkyReapCommand())

    def start(self, workflow: Any, argument: Any) -> Run:
        name = f"e2e-{uuid.uuid4().hex[:8]}"
        handle = self.loop.run_until_complete(self.client.start_workflow(workflow, argument, id=name, task_queue=TASK_QUEUE))
        self.runs.append(Run(handle, self.loop, self.log))
        return self.runs[-1]

    def start_server(self) -> None:
        """With the histories of the one before."""
        port, (ui_port,) = int(self.address.rsplit(":", 1)[1]), free_ports(1)
        _, *arguments = start_dev(self.temporal, self.household.folder / "temporal", port=port, ui_port=ui_port)
        self.server = self.household.start(*arguments, log="temporal", program=self.temporal)
        until("Temporal answers", self.answers, within=60)

    def restart_server(self) -> None:
        assert self.server is not None
        kill_9(self.server)
        self.start_server()

    def answers(self) -> bool:
        try:
            return self.loop.run_until_complete(self.client.service_client.check_health())
        except (RPCError, RuntimeError):
            return False


def prepare() -> str:
    """What `serve` is given: the `temporal` command. It may have to be built, and is then kept in the caller's own home."""
    return find_temporal()


def serve(household: Household, temporal: str) -> Iterator[Orchestra]:
    """A Temporal server of our own."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    household.environ["TEMPORAL_ADDRESS"] = address
    loop = asyncio.new_event_loop()

    async def lazily() -> Client:
        return await Client.connect(address, lazy=True)

    client = loop.run_until_complete(lazily())
    orchestra = Orchestra(household, address, loop, client, temporal)
    orchestra.start_server()
    yield orchestra
    loop.close()
