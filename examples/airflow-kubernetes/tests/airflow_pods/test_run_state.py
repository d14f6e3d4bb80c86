"""The reaper's question, asked of a real API server of Airflow over HTTP."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import httpx
import pytest

from sky_orchestrate.airflow.runs import AirflowRun
from sky_orchestrate.airflow_pods.run_state import run_state
from sky_orchestrate.errors import SettingsError
from tests.airflow_pods.conftest import HOME
from tests.conftest import ROOT

DAG_ID = "sky_k8s_train_pipeline"
# With what a URL has a meaning for
OVER, LIVE = "manual__2026-11-25T10:00:00.5+00:00", "by-hand+2~a:b"
ENDED = datetime(2026, 11, 25, 11, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def airflow() -> Iterator[str]:
    """Airflow's API server with two runs of the pipeline in its database: one has succeeded, the other still runs."""
    from airflow_local.prepare import prepare

    prepare()
    _add_runs()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Path(HOME, "api-server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "airflow", "api-server", "--port", str(port), "--host", "127.0.0.1", "--workers", "1"],
            cwd=ROOT,
            env=dict(os.environ),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        give_up = time.monotonic() + 90
        while not _answers(url):
            alive = time.monotonic() < give_up and server.poll() is None
            assert alive, Path(HOME, "api-server.log").read_text()[-2000:]
            time.sleep(0.3)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/v2/version", timeout=2).is_success
    except httpx.TransportError:
        return False


def _add_runs() -> None:
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag
    from airflow.models.dagrun import DagRun
    from airflow.serialization.definitions.dag import SerializedDAG
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    dag = LazyDeserializedDAG.from_dag(DagBag(ROOT / "dags").dags[DAG_ID])
    DagBundlesManager().sync_bundles_to_db()
    SerializedDAG.bulk_write_to_db("dags-folder", None, [dag])
    with create_session() as session:
        for run_id, state in ((OVER, DagRunState.SUCCESS), (LIVE, DagRunState.RUNNING)):
            run = DagRun(DAG_ID, run_id, run_type=DagRunType.MANUAL, state=state, triggered_by=DagRunTriggeredByType.TEST)
            run.end_date = ENDED if state is DagRunState.SUCCESS else None
            session.add(run)


@pytest.fixture
def ask(airflow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_API_URL", f"{airflow}/")


async def test_rule_04_a_run_that_is_over_is_told_with_its_end(ask: None) -> None:
    state = await run_state("x", AirflowRun(DAG_ID, OVER).labels)
    assert state is not None
    assert (state.over, state.ended_at) == (True, ENDED.timestamp())


async def test_rule_04_a_run_that_runs_is_live(ask: None) -> None:
    state = await run_state("x", AirflowRun(DAG_ID, LIVE).labels)
    assert state is not None
    assert (state.over, state.ended_at) == (False, None)


@pytest.mark.parametrize(
    "labels", [AirflowRun(DAG_ID, "no such run").labels, AirflowRun("no_such_dag", OVER).labels, {}], ids=["run", "dag", "no ids"]
)
async def test_rule_04_a_run_that_airflow_does_not_know_is_none(ask: None, labels: dict[str, str]) -> None:
    assert await run_state("x", labels) is None


async def test_a_token_that_airflow_refuses_is_told_with_what_to_correct(ask: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_API_TOKEN", "hunter2")
    with pytest.raises(RuntimeError, match="refused the credentials; set AIRFLOW_API_USER") as told:
        await run_state("x", AirflowRun(DAG_ID, OVER).labels)
    assert "hunter2" not in str(told.value)


async def test_without_airflows_address_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_API_URL", raising=False)
    with pytest.raises(SettingsError, match="AIRFLOW_API_URL is not set"):
        await run_state("x", AirflowRun(DAG_ID, OVER).labels)
