"""What Airflow says of a DAG run, asked over its REST API: the reaper has no database of Airflow's at hand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

from sky_orchestrate.airflow.runs import AirflowRun
from sky_orchestrate.errors import SettingsError
from sky_orchestrate.reaper import RunState
from sky_orchestrate.settings import Settings, load_settings

URL, TOKEN, USER, PASSWORD = "AIRFLOW_API_URL", "AIRFLOW_API_TOKEN", "AIRFLOW_API_USER", "AIRFLOW_API_PASSWORD"  # their names
_OVER = ("success", "failed")


async def run_state(label: str, labels: Mapping[str, str]) -> RunState | None:  # noqa: ARG001  # the ids stand in the other labels
    """What became of the run that a cluster's labels lead to; None where Airflow knows no such run."""
    run = AirflowRun.of_labels(labels)
    if run is None:
        return None
    settings = await asyncio.to_thread(load_settings)
    url = settings.variable(URL).rstrip("/")
    if not url:
        raise SettingsError(f"{URL} is not set; it would be right as Airflow's own address, such as http://airflow-api-server:8080")
    async with httpx.AsyncClient(timeout=30) as client:
        token = settings.variable(TOKEN) or await _token(client, url, settings)
        path = f"/api/v2/dags/{quote(run.dag_id, safe='')}/dagRuns/{quote(run.run_id, safe='')}"
        told = await client.get(f"{url}{path}", headers={"Authorization": f"Bearer {token}"})
    if told.status_code == httpx.codes.NOT_FOUND:
        return None
    return _state(_well(told).json())


async def _token(client: httpx.AsyncClient, url: str, settings: Settings) -> str:
    user, password = settings.variable(USER), settings.variable(PASSWORD)
    if user:
        told = await client.post(f"{url}/auth/token", json={"username": user, "password": password})
    else:
        # Where everybody is an admin, as in `make ui`
        told = await client.get(f"{url}/auth/token")
    return _well(told).json()["access_token"]


def _state(told: Mapping[str, Any]) -> RunState:
    ended = str(told.get("end_date") or "").replace("Z", "+00:00")
    return RunState(over=told["state"] in _OVER, ended_at=datetime.fromisoformat(ended).timestamp() if ended else None)


def _well(told: httpx.Response) -> httpx.Response:
    """Raises RuntimeError that says what to correct; the reaper tells its first line."""
    if told.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise RuntimeError(f"Airflow at {told.request.url.host} refused the credentials; set {USER} and {PASSWORD}, or {TOKEN}")
    if not told.is_success:
        raise RuntimeError(f"Airflow at {told.request.url.host} answered {told.status_code}")
    return told
