"""A real Prefect server and its workers, and flow runs as the server tells of them."""

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
    "e2e_step": "tests/e2e/probe_flows.py:one_step",
    "e2e_async_fan_out": "tests/e2e/probe_flows.py:async_fan_out",
    "e2e_sync_fan_out": "tests/e2e/probe_flows.py:sync_fan_out",
    "sky_parallel_workflow": "flows/sky_train_flow.py:sky_parallel_workflow",
}


@dataclass
class Run:
    """A flow run."""

    id: UUID
    api: SyncPrefectClient

    @property
    def state(self) -> State[Any]:
        state = self.api.read_flow_run(self.id).state
        assert state is not None
        return state

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
class Prefect:
    """The server, and at most one worker at a time. `slug` names the work pool and the deployments, as prefect.yaml does."""

    household: Household
    url: str
    slug: str
    api: SyncPrefectClient
    worker: psutil.Process | None = None
    runs: list[Run] = field(default_factory=list)
    _workers: int = 0

    def deploy(self) -> None:
        """What `make deploy` does, without its schedules, and the flows of probe_flows in the same way."""
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
        self.runs.append(Run(run.id, self.api))
        return self.runs[-1]

    def keep_secret(self, block: str, value: str) -> None:
        with temporary_settings({PREFECT_API_URL: self.url}):
            Secret(value=SecretStr(value)).save(block, overwrite=True)

    def result(self, run: Run) -> Any:
        """What the flow returned, as its worker stored it."""
        storage = Path(self.household.environ["PREFECT_HOME"]) / "storage"
        with temporary_settings({PREFECT_API_URL: self.url, PREFECT_LOCAL_STORAGE_PATH: storage}):
            return run.state.result()


def serve(household: Household) -> Iterator[Prefect]:
    """A Prefect server of our own, with everything deployed."""
    url = f"http://127.0.0.1:{_free_port()}/api"
    household.environ["PREFECT_API_URL"] = url
    household.start("-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", url.split(":")[2].split("/")[0], log="prefect")
    with SyncPrefectClient(url) as api:
        until("the Prefect server answers", lambda: api.api_healthcheck() is None, within=90)
        prefect = Prefect(household, url, load_settings(root=household.root).slug, api)
        prefect.deploy()
        yield prefect


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
