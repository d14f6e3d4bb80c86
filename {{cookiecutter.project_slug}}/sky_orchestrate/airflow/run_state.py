"""What Airflow says of a DAG run: the reaper's question, asked from a task and from the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from airflow.sdk.exceptions import AirflowRuntimeError

from sky_orchestrate import naming
from sky_orchestrate.airflow.runs import AirflowRun
from sky_orchestrate.cluster import Cluster
from sky_orchestrate.reaper import RunState

_OVER = ("success", "failed")


def run_states_of(ti: Any, clusters: Sequence[Cluster]) -> Callable[[str], Awaitable[RunState | None]]:
    """Asks as a task may, by the ids that the clusters' own labels hold. None is a run that Airflow does not know."""
    runs = {cluster.labels.get("run", ""): AirflowRun.of_labels(cluster.labels) for cluster in clusters}

    async def state(label: str) -> RunState | None:
        run = runs.get(label)
        if run is None:
            return None
        try:
            told = await asyncio.to_thread(ti.get_dagrun_state, run.dag_id, run.run_id)
        except AirflowRuntimeError as error:
            if "not_found" in str(error).lower():
                return None
            raise
        return RunState(over=getattr(told, "value", told) in _OVER)

    return state


async def run_state(label: str) -> RunState | None:
    """As `python -m sky_orchestrate reap` asks, where Airflow's database is at hand: what became of the run that a label names."""
    return await asyncio.to_thread(_in_database, label)


def _in_database(label: str) -> RunState | None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        for dag_id, run_id, state, ended in session.execute(select(DagRun.dag_id, DagRun.run_id, DagRun.state, DagRun.end_date)):
            if naming.label(AirflowRun(dag_id, run_id).name) == label:
                return RunState(over=getattr(state, "value", state) in _OVER, ended_at=ended.timestamp() if ended else None)
    return None
