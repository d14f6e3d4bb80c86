"""A real Prefect server and its workers, and flow runs as the server tells of them.

Every flavour has such a module, with the names that the tests of all flavours use: Orchestra, Run and serve.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
from prefect.blocks.system import Secret
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import State, StateType
from prefect.client.schemas.sorting import LogSort
from prefect.settings import PREFECT_API_URL, PREFECT_LOCAL_STORAGE_PATH, temporary_settings
from prefect.states import Cancelling, Crashed, Scheduled
from pydantic import SecretStr

from sky_orchestrate.settings import load_settings
from tests.e2e.processes import Household, kill_9, until

_FLOWS = {
    "e2e_step": "tests/e2e/prefect_probe_flows.py:one_step",
    "e2e_async_fan_out": "tests/e2e/prefect_probe_flows.py:async_fan_out",
    "e2e_sync_fan_out": "tests/e2e/prefect_probe_flows.py:sync_fan_out",
    "sky_parallel_workflow": "flows/sky_train_flow.py:sky_parallel_workflow",
}


PIPELINE, REAPER = "sky_train_workflow", "sky_reaper"


@dataclass
class Run:
    """A flow run."""

    id: UUID
    api: SyncPrefectClient
    storage: Path

    @property
    def state(self) -> State[Any]:
        state = self.api.read_flow_run(self.id).state
        assert state is not None
        return state

    @property
    def over(self) -> bool:
        return self.state.is_final()

    @property
    def message(self) -> str:
        """What its state says of a failure."""
        return self.state.message or ""

    @property
    def retried(self) -> bool:
        return self.says("Retry 1/")

    @property
    def result(self) -> Any:
        """What the flow returned, as its worker stored it."""
        with temporary_settings({PREFECT_API_URL: str(self.api.api_url), PREFECT_LOCAL_STORAGE_PATH: self.storage}):
            return self.state.result()

    @property
    def record(self) -> str:
        """All that the server keeps of it."""
        return "\n".join([*self.logs, self.message, str(self.api.read_flow_run(self.id).model_dump())])

    @property
    def logs(self) -> list[str]:
        """Its log lines in order, its tasks' among them."""
        lines: list[str] = []
        while True:
            page = self.api.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[self.id])), 200, len(lines), LogSort.TIMESTAMP_ASC)
            lines += [f"{entry.timestamp:%H:%M:%S} {entry.message}" for entry in page]
            if len(page) < 200:
                return lines

    def says(self, text: str) -> bool:
        return any(text in line for line in self.logs)

    def assert_says(self, text: str) -> None:
        """Log lines reach the server some seconds after a run's end."""
        until(f"the flow run's log has: {text}", lambda: self.says(text), within=10)

    def verdict(self, *, within: float) -> str:
        """The name of its final state: Completed, Failed, Cancelled, Crashed or TimedOut."""

        def final() -> str | None:
            state = self.state
            return state.name if state.is_final() and state.name != "Cancelling" else None

        return until(f"a final state of the flow run, which is {self.state.name}", final, within=within)

    @property
    def name(self) -> str:
        """What the pipeline's data of this run are called."""
        return str(self.id)

    def lost(self, *, within: float) -> None:
        """Its worker was killed: the heartbeats' automation says so in time."""
        assert self.verdict(within=within) == "Crashed"

    def until_running(self, *, within: float = 60) -> None:
        until("the flow run is running", lambda: self.state.type == StateType.RUNNING, within=within)

    def cancel(self) -> None:
        """As the UI's button and `prefect flow-run cancel` do."""
        self.api.set_flow_run_state(self.id, Cancelling())

    def crashed(self) -> None:
        """What the heartbeat automation says of a run that has fallen silent."""
        self.api.set_flow_run_state(self.id, Crashed(message="no heartbeat"), force=True)

    def again(self) -> None:
        """As the UI's Retry does: a new attempt at the same run, on whichever worker takes it."""
        self.api.set_flow_run_state(self.id, Scheduled(name="AwaitingRetry"), force=True)


@dataclass
class Orchestra:
    """The server, and at most one worker at a time. `slug` names the work pool and the deployments, as prefect.yaml does."""

    household: Household
    url: str
    slug: str
    api: SyncPrefectClient
    worker: psutil.Process | None = None
    runs: list[Run] = field(default_factory=list)
    _workers: int = 0

    def deploy(self) -> None:
        """What `make deploy` does, without its schedules, and the flows of prefect_probe_flows in the same way."""
        for command in (("-m", "flows.deploy"), ("-m", "prefect", "--no-prompt", "deployment", "schedule", "pause", "--all")):
            done = self.household.run(*command, within=180)
            assert done.returncode == 0, done.stdout + done.stderr
        deployed = self.api.read_deployment_by_name(f"sky_train_workflow/{self.slug}")
        for flow, entrypoint in _FLOWS.items():
            self.api.create_deployment(
                self.api.create_flow_from_name(flow),
                self.slug,
                entrypoint=entrypoint,
                pull_steps=deployed.pull_steps,
                work_pool_name=deployed.work_pool_name,
                job_variables=deployed.job_variables,
                tags=deployed.tags,
                parameter_openapi_schema={},
                enforce_parameter_schema=False,
            )

    def step(self, task_yaml: str, *, retries: int = 0, environ: Mapping[str, str] | None = None, **arguments: Any) -> Run:
        """A run of one step; `environ` is for the process that carries it out."""
        return self.submit("e2e_step", {"task_yaml": task_yaml, "retries": retries, "arguments": arguments}, environ=environ)

    def pipeline(self, *, envs: Mapping[str, str] | None = None, secrets: Mapping[str, str] | None = None) -> Run:
        return self.submit(PIPELINE, {"envs": dict(envs or {}), "secrets": dict(secrets or {})})

    def reap(self) -> Run:
        """A run of the reaper, with no grace."""
        return self.submit(REAPER, {}, environ={"SKY_ORCHESTRATE_REAPER_GRACE": "0"})

    def next_attempt(self, run: Run, *, home: Path | None = None) -> None:
        """After the worker was killed: what the heartbeat automation and then a user do, and a worker that takes the run."""
        run.crashed()
        run.again()
        self.start_worker(home=home)

    def start_worker(self, *, home: Path | None = None) -> None:
        """`home` makes it another machine's: another user to SkyPilot."""
        self._workers += 1
        environ = {} if home is None else {"HOME": str(home)}
        command = ("-m", "prefect", "worker", "start", "--pool", self.slug, "--name", f"worker-{self._workers}")
        self.worker = self.household.start(*command, log="worker", environ=environ)

    def keep_a_worker(self) -> None:
        if self.worker is None or not self.worker.is_running() or self.worker.status() == psutil.STATUS_ZOMBIE:
            self.start_worker()

    def kill_worker(self) -> None:
        """kill -9 of the worker and of the flow runs it has in hand."""
        assert self.worker is not None
        kill_9(self.worker)
        self.worker = None

    def engines(self) -> list[psutil.Process]:
        """The processes of flow runs."""
        return [process for process in self.household.members() if "prefect.engine" in process.cmdline()]

    def submit(self, flow: str, parameters: Mapping[str, Any], *, environ: Mapping[str, str] | None = None) -> Run:
        """A run of the flow's deployment, for the worker to take; `environ` is for its process."""
        found = self.api.read_deployment_by_name(f"{flow}/{self.slug}")
        variables = {"env": dict(environ)} if environ else None
        run = self.api.create_flow_run_from_deployment(found.id, parameters=dict(parameters), job_variables=variables)
        self.runs.append(Run(run.id, self.api, Path(self.household.environ["PREFECT_HOME"]) / "storage"))
        return self.runs[-1]

    def keep_secret(self, block: str, value: str) -> None:
        with temporary_settings({PREFECT_API_URL: self.url}):
            Secret(value=SecretStr(value)).save(block, overwrite=True)


def prepare() -> None:
    """What `serve` is given: nothing, for Prefect is among the requirements."""


def serve(household: Household, prepared: None) -> Iterator[Orchestra]:
    """A Prefect server of our own, with everything deployed."""
    url = f"http://127.0.0.1:{_free_port()}/api"
    household.environ.update(
        PREFECT_API_URL=url,
        PREFECT_HOME=str(household.folder / "prefect"),
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        PREFECT_WORKER_QUERY_SECONDS="2",
        PREFECT_WORKER_PREFETCH_SECONDS="1",
    )
    household.start("-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", url.split(":")[2].split("/")[0], log="prefect")
    with SyncPrefectClient(url) as api:
        until("the Prefect server answers", lambda: api.api_healthcheck() is None, within=90)
        orchestra = Orchestra(household, url, load_settings(root=household.root).slug, api)
        orchestra.deploy()
        yield orchestra


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
