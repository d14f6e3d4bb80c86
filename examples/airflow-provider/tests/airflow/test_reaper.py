"""The reaper: clusters of runs that Airflow calls over go down, found by their labels alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sky_orchestrate import naming
from sky_orchestrate.airflow.operators import SkyReapOperator
from sky_orchestrate.airflow.run_state import run_state
from sky_orchestrate.airflow.runs import AirflowRun
from sky_orchestrate.reaper import RunState
from tests.airflow.conftest import Sky
from tests.airflow.dag_runs import Ended, new_dag, run, sky_task

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def lost(sky: Sky, monkeypatch: pytest.MonkeyPatch) -> Ended:
    """A run that is over and whose cluster is still there, though nobody keeps it."""
    monkeypatch.setenv("SKY_ORCHESTRATE_REAPER_GRACE", "0")
    with new_dag() as dag:
        sky_task(cluster="forgotten")
    ended = run(dag)
    assert len(sky.server.left) == 1
    return ended


def reap(**given: Any) -> Any:
    with new_dag() as dag:
        SkyReapOperator(task_id="reap", **given)
    return run(dag).xcom("reap")


def test_rule_04_the_cluster_of_a_run_that_is_over_is_taken_down(sky: Sky, lost: Ended) -> None:
    assert [one["action"] for one in reap()] == ["taken down"]
    assert sky.server.left == []


def test_rule_04_a_dry_run_only_tells(sky: Sky, lost: Ended) -> None:
    assert [one["action"] for one in reap(dry_run_only=True)] == ["would take down"]
    assert len(sky.server.left) == 1


def test_rule_04_a_run_that_airflow_does_not_know_is_left_alone(sky: Sky, lost: Ended) -> None:
    (cluster,) = sky.server.clusters.values()
    cluster.labels.update(AirflowRun("no_such_dag", "no_such_run").labels)
    assert [one["action"] for one in reap()] == ["left"]


def test_rule_04_the_command_line_asks_the_database(lost: Ended) -> None:
    known = asyncio.run(run_state(naming.label(AirflowRun(lost.dag_id, lost.run_id).name)))
    assert isinstance(known, RunState)
    assert known.over
    assert known.ended_at is not None
    assert asyncio.run(run_state("no-such-run")) is None


@pytest.mark.parametrize(
    ("dag_id", "run_id"),
    [
        pytest.param("sky_k8s_train_pipeline", "manual__2026-11-25T10:00:00.123456+00:00", id="as Airflow names them"),
        pytest.param("d" * 250, "r" * 250, id="the longest there are"),
        pytest.param("навчання.1", 'weird "run" / id=ü,🚀', id="any Unicode"),
    ],
)
def test_a_clusters_labels_lead_back_to_its_run_on_every_cloud(dag_id: str, run_id: str) -> None:
    labels = AirflowRun(dag_id, run_id).labels
    assert AirflowRun.of_labels({"owner": "x", **labels}) == AirflowRun(dag_id, run_id)
    assert all(0 < len(value) <= 63 and value.isascii() and value.isalnum() and value == value.lower() for value in labels.values())


@pytest.mark.parametrize(
    "labels",
    [{}, {"airflow-run-1": "!!"}, {"airflow-run-1": "aaaa"}, {"airflow-run-2": "abc"}],
    ids=["none", "no base32", "no ids", "no first"],
)
def test_other_labels_lead_nowhere(labels: dict[str, str]) -> None:
    assert AirflowRun.of_labels(labels) is None
