"""SIGTERM of a worker that waits itself: the user's cancel, or the worker that goes away. Airflow's own state tells the two apart."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException

from sky_orchestrate.airflow.attempt import Attempt, StepRequest
from sky_orchestrate.airflow.hook import SkyHook
from sky_orchestrate.airflow.task_operator import _OnThisWorker
from tests.airflow.conftest import Sky, own_cluster, request

CLUSTER = own_cluster("train", "manual__2026-11-25T10:00:00+00:00")


@dataclass
class AsAirflowTells:
    """A task instance of which Airflow says `state`."""

    state: str
    dag_id: str = "pipeline"
    run_id: str = "manual__2026-11-25T10:00:00+00:00"
    task_id: str = "train"
    map_index: int = -1

    def get_task_states(self, dag_id: str, **_: Any) -> dict[str, dict[str, str]]:
        return {self.run_id: {self.task_id: self.state}}


@pytest.mark.parametrize(
    ("state", "left"),
    [
        pytest.param("running", [CLUSTER], id="rule_05 a worker that goes away leaves the cluster"),
        pytest.param("failed", [], id="rule_06 the user's cancel takes it down"),
    ],
)
def test_sigterm_asks_airflow_what_it_means(sky: Sky, monkeypatch: pytest.MonkeyPatch, state: str, left: list[str]) -> None:
    def missing(conn_id: str) -> Any:
        raise AirflowNotFoundException(conn_id)

    monkeypatch.setattr(SkyHook, "get_connection", staticmethod(missing))
    waiting = _OnThisWorker(Attempt(StepRequest(**request("sleep 1000")), print), AsAirflowTells(state))

    def signal_once_it_runs() -> None:
        while CLUSTER not in sky.server.clusters or not sky.server.clusters[CLUSTER].jobs:
            time.sleep(0.002)
        waiting.terminated()

    threading.Thread(target=signal_once_it_runs, daemon=True).start()
    with pytest.raises(AirflowException, match="told to stop"):
        waiting.verdict()
    assert sky.server.left == left
