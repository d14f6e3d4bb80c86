"""A Prefect server for the session, and a SkyPilot in memory with a project of tasks that its shell can run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import certifi
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas import FlowRun
from prefect.client.schemas.objects import State
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import (
    PREFECT_API_SSL_CERT_FILE,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_LOCAL_STORAGE_PATH,
    temporary_settings,
)

from flows import cancellation, inputs, portal
from flows.cancellation import Patience
from flows.sky_train_flow import run_sky_task
from sky_orchestrate.settings import Settings
from tests.contract import FAST
from tests.fake_sky import FakeServer, Speed
from tests.flows.prefect_server import prefect_server

_END = "-----END CERTIFICATE-----\n"
_TASKS = {
    "data_preprocessing": """echo '::sky-output::{"run_name": "$RUN_NAME"}'""",
    "train": """
        echo training with $LEARNING_RATE
        sleep 1
        echo '::sky-output::{"validation_accuracy": $LEARNING_RATE, "loss_history": [2.0, 1.0, 0.5], "final_loss": 0.5}'
        echo '::sky-output::{"epochs": $EPOCHS, "learning_rate": $LEARNING_RATE, "batch_size": 32, "train_seconds": 0.3}'
        echo '::sky-output::{"model_url": "s3://bucket/$RUN_NAME/model.npz"}'
    """,
    "eval": """echo '::sky-output::{"accuracy": 0.97}'""",
    "slow": "sleep 1000",
    "long": """sleep 60\necho '::sky-output::{"lasted": true}'""",
    "broken": "echo about to break\nexit 3",
}


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Prefect keeps results."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="session", autouse=True)
def server(results: Path, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[None]:
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "prefect"
    # Each of Prefect's many clients reads the authorities anew, 25 ms for all of them; the server here has no certificate.
    authorities = tmp_path_factory.mktemp("tls") / "authority.pem"
    authorities.write_text(certifi.contents().partition(_END)[0] + _END)
    here: dict[Any, Any] = {
        PREFECT_LOCAL_STORAGE_PATH: results,
        PREFECT_API_SSL_CERT_FILE: str(authorities),
        PREFECT_CLIENT_MAX_RETRIES: 100,
    }
    with prefect_server(folder, timeout=120) as url, temporary_settings({PREFECT_API_URL: url, **here}):
        yield
        # What is still to be sent has nobody to go to afterwards.
        APILogWorker.instance().drain()
        EventsWorker.drain_all()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project's folder with tasks/*.yaml."""
    (tmp_path / "tasks").mkdir()
    for name, run in _TASKS.items():
        lines = "\n".join("  " + line.strip() for line in run.strip().splitlines())
        envs = 'envs: {RUN_NAME: "", LEARNING_RATE: "0.1", BATCH_SIZE: "32", EPOCHS: "3"}'
        (tmp_path / "tasks" / f"{name}.yaml").write_text(f"name: {name}\n{envs}\nrun: |\n{lines}\n")
    return tmp_path


@pytest.fixture
def sky(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    """The SkyPilot server that the flows talk to. Nothing may be left on it when the test is over."""
    server = FakeServer(Speed())
    settings = Settings(root=project, slug="proj", owner="proj")
    monkeypatch.setattr(inputs, "load_settings", lambda: settings)
    monkeypatch.delenv("SKYPILOT_API_SERVER_ENDPOINT", raising=False)
    monkeypatch.setattr(portal, "_portal", portal.Portal(connect=lambda _: server.client(), pace=FAST))
    monkeypatch.setattr(cancellation, "patience", Patience(poll=0.05, state=0.1, runner=0.1))
    monkeypatch.setattr(run_sky_task, "retry_delay_seconds", 0)
    yield server
    assert server.left == []


def order(server: FakeServer, kind: str) -> list[str]:
    """The tasks of the requests of one kind, in order, by the middle of their clusters' names."""
    return [name.split("-")[1] for what, name in (line.split(" ", 1) for line in server.log) if what == kind]


def at_once(server: FakeServer) -> int:
    """How many clusters were up or coming up at the same time, at most."""
    steps = {"launch": 1, "down": -1}
    return max(itertools.accumulate(steps.get(line.split(" ", 1)[0], 0) for line in server.log))


async def final_state(running: Any) -> State[Any]:
    """The state that a flow called with `return_state=True` ends in; Prefect's types do not tell that an async one is awaited for it."""
    return await running


async def flow_run_of(state: State[Any]) -> FlowRun:
    flow_run_id = state.state_details.flow_run_id
    assert flow_run_id is not None
    async with get_client() as client:
        return await client.read_flow_run(flow_run_id)
