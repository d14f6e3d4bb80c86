"""A real Airflow, whole: scheduler, triggerer, DAG processor and API server, and DAG runs as the API tells of them.

Every flavour has such a module, with the names that the tests of all flavours use: Orchestra, Run and serve.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.airflow_processes import Airflow, serve_airflow
from tests.e2e.airflow_run import Run
from tests.e2e.processes import Household

__all__ = ["Orchestra", "Run", "prepare", "serve"]

PIPELINE, REAPER = "sky_k8s_train_pipeline", "sky_reaper"


@dataclass
class Orchestra(Airflow):
    """Airflow with the tests' own runs. `_special` is the environment of the triggerer beside the usual."""

    _special: dict[str, str] = field(default_factory=dict)

    def keep_a_worker(self, environ: Mapping[str, str] | None = None) -> None:
        """One triggerer with this environment beside the usual; another one goes first. A process has one SkyPilot endpoint for good."""
        wanted = dict(environ or {})
        if self.worker is not None and wanted == self._special:
            return
        self.stop_worker()
        self._special = wanted
        self.start_worker(environ=wanted)

    def next_attempt(self, run: Run, *, home: Path | None = None) -> None:
        """After the triggerer was killed: another one, which takes the deferred task once that one's heartbeats are missed."""
        self.start_worker(home=home)

    def keep_secret(self, name: str, value: str) -> None:
        """As an Airflow Variable, which Airflow keeps encrypted."""
        if self.api.get(f"/variables/{name}"):
            self.api.patch(f"/variables/{name}", {"key": name, "value": value})
        else:
            self.api.post("/variables", {"key": name, "value": value})

    def step(self, task_yaml: str, *, environ: Mapping[str, str] | None = None, **arguments: Any) -> Run:
        """A run of a DAG of one step; `environ` is for the triggerer."""
        endpoint = arguments.pop("api_server_endpoint", None)
        if endpoint:
            arguments["conn_id"] = self._connection(endpoint)
        self.keep_a_worker({**(environ or {}), **({"SKY_E2E_ENDPOINT": endpoint} if endpoint else {})})
        return self.trigger(self.dag("airflow_probe_dag.py", {"task_yaml": task_yaml, **arguments}))

    def pipeline(self, *, envs: Mapping[str, str] | None = None, secrets: Mapping[str, str] | None = None) -> Run:
        if not envs and not secrets:
            return self.trigger(PIPELINE)
        source = self.household.root / "dags" / "sky_train_pipeline.py"
        asked = {"source": str(source), "envs": dict(envs or {}), "secrets": dict(secrets or {})}
        return self.trigger(self.dag("airflow_pipeline_dag.py", asked))

    def reap(self) -> Run:
        """A run of the reaper, with no grace."""
        return self.trigger(REAPER)

    def _connection(self, endpoint: str) -> str:
        name = f"e2e_{uuid.uuid4().hex[:8]}"
        self.api.post("/connections", {"connection_id": name, "conn_type": "skypilot", "host": endpoint})
        return name


def prepare() -> None:
    """What `serve` is given: nothing, for Airflow is among the requirements."""


def serve(household: Household, prepared: None) -> Iterator[Orchestra]:
    yield from serve_airflow(household, Orchestra, (PIPELINE, REAPER))
