"""A DAG run, as Airflow's public API tells of it and as a user steers it there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from sky_orchestrate import naming
from tests.e2e.processes import until

STEPS = ("data_preprocessing", "train", "eval")


@dataclass
class Api:
    """What the web page and a user's scripts call."""

    url: str
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30))

    def log_in(self) -> bool:
        """False where the server does not answer yet. Everybody is an admin: there is no password."""
        try:
            told = self.client.get(f"{self.url}/auth/token")
        except httpx.TransportError:
            return False
        if not told.is_success:
            return False
        self.client.headers["Authorization"] = f"Bearer {told.json()['access_token']}"
        return True

    def get(self, path: str, **params: Any) -> Any:
        """None where there is no such thing."""
        told = self.client.get(f"{self.url}/api/v2{path}", params=params)
        if told.status_code == httpx.codes.NOT_FOUND:
            return None
        return _well(told).json()

    def post(self, path: str, body: Any) -> Any:
        return _well(self.client.post(f"{self.url}/api/v2{path}", json=body)).json()

    def patch(self, path: str, body: Any) -> Any:
        return _well(self.client.patch(f"{self.url}/api/v2{path}", json=body)).json()


def _well(told: httpx.Response) -> httpx.Response:
    assert told.is_success, f"{told.request.method} {told.request.url}: {told.status_code} {told.text[:500]}"
    return told


@dataclass
class Run:
    """A run of a DAG. `cancelled`: its user has marked it failed, which is Airflow's way to cancel."""

    api: Api
    dag_id: str
    id: str
    cancelled: bool = False

    @property
    def path(self) -> str:
        return f"/dags/{self.dag_id}/dagRuns/{quote(self.id)}"

    @property
    def name(self) -> str:
        """What the pipeline's data of this run are called."""
        return naming.label(self.id)

    @property
    def state(self) -> str:
        return self.api.get(self.path)["state"]

    @property
    def over(self) -> bool:
        return self.state in ("success", "failed")

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """Its task instances, as they came to run."""
        told = self.api.get(f"{self.path}/taskInstances", limit=100)["task_instances"]
        return sorted(told, key=lambda task: (task["start_date"] or "9", task["task_id"]))

    def task(self, task_id: str = "step") -> dict[str, Any]:
        return next(task for task in self.tasks if task["task_id"] == task_id)

    @property
    def retried(self) -> bool:
        return any(task["try_number"] > 1 for task in self.tasks)

    @property
    def records(self) -> Iterator[dict[str, Any]]:
        """The log records of all tries of all its tasks, as the page shows them."""
        for task in self.tasks:
            for number in range(1, task["try_number"] + 1):
                path = f"{self.path}/taskInstances/{task['task_id']}/logs/{number}"
                told = self.api.get(path, full_content=True, map_index=task["map_index"])
                yield from (record for record in (told or {}).get("content", ()) if isinstance(record, dict))

    @property
    def logs(self) -> list[str]:
        return [f"{record['timestamp'][11:19]} {text}" for record in self.records if record.get("timestamp") for text in _texts(record)]

    @property
    def message(self) -> str:
        """Why it failed: the last exception that a task of it ended with."""
        return next(reversed([text for record in self.records for text in _exceptions(record)]), "")

    @property
    def result(self) -> Any:
        """What the pipeline's steps gave, by their names."""
        steps = {name: self.xcom(name) for name in STEPS}
        return {"steps": steps, "accuracy": steps["eval"]["outputs"]["accuracy"]}

    def xcom(self, task_id: str = "step", key: str = "return_value") -> Any:
        told = self.api.get(f"{self.path}/taskInstances/{task_id}/xcomEntries/{key}", deserialize=False, stringify=False)
        return told and told["value"]

    @property
    def record(self) -> str:
        """All that the server tells of it."""
        told = [self.api.get(self.path), *self.records]
        for task in self.tasks:
            path = f"{self.path}/taskInstances/{task['task_id']}"
            told += [self.api.get(f"{path}{more}") for more in ("", "/tries", "/xcomEntries", "/xcomEntries/return_value")]
        return "\n".join([*self.logs, *(json.dumps(one) for one in told)])

    def says(self, text: str) -> bool:
        return any(text in line for line in self.logs)

    def assert_says(self, text: str) -> None:
        until(f"the run's log has: {text}", lambda: self.says(text), within=10)

    def verdict(self, *, within: float) -> str:
        """Completed, Failed or Cancelled."""

        def final() -> str | None:
            return {"success": "Completed", "failed": "Cancelled" if self.cancelled else "Failed"}.get(self.state)

        return until(f"an end of {self.dag_id} {self.id}, which is {self.state}", final, within=within)

    def until_running(self, *, within: float = 60) -> None:
        """Until a task of it runs, or waits in the triggerer."""
        until("a task runs", lambda: any(task["state"] in ("running", "deferred") for task in self.tasks), within=within)

    def until_deferred(self, task_id: str = "step", *, within: float = 60) -> None:
        until(f"{task_id} is deferred", lambda: self.task(task_id)["state"] == "deferred", within=within)

    def mark(self, state: str) -> None:
        """As the page's menu of the run does."""
        self.api.patch(self.path, {"state": state})

    def mark_task(self, state: str, task_id: str = "step") -> None:
        """As the page's menu of the task does."""
        self.api.patch(f"{self.path}/taskInstances/{task_id}", {"new_state": state})

    def clear(self) -> None:
        """As the page's Clear does: its tasks run again."""
        self.api.post(f"{self.path}/clear", {"dry_run": False})

    def cancel(self) -> None:
        self.cancelled = True
        self.mark("failed")

    def lost(self, *, within: float) -> None:
        """Its triggerer was killed and its user gave it up: nothing of it runs any more."""
        self.mark("failed")
        assert self.verdict(within=within) == "Failed"


def _texts(record: dict[str, Any]) -> list[str]:
    return [*str(record.get("event", "")).splitlines(), *(line for text in _exceptions(record) for line in text.splitlines())]


def _exceptions(record: dict[str, Any]) -> list[str]:
    return [str(error.get("exc_value", "")) for error in record.get("error_detail") or ()]
