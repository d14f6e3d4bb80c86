"""A real Airflow on this machine whose tasks are pods, and DAG runs as its API tells of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.e2e.airflow_processes import Airflow, serve_airflow
from tests.e2e.airflow_run import Run
from tests.e2e.processes import Household

__all__ = ["Orchestra", "Run", "prepare", "serve"]

PIPELINE, EXAMPLE = "sky_k8s_train_pipeline", "sky_k8s_example"


@dataclass
class Orchestra(Airflow):
    """Airflow with the tests' own runs."""

    def keep_a_worker(self) -> None:
        """One triggerer: the tests may have killed the one before."""
        if self.worker is None:
            self.start_worker()

    def step(self, sky_command: Sequence[str], *, config_map: str = "", **arguments: Any) -> Run:
        """A run of a DAG of one step. What is in `config_map` lies in the pod's folder /task."""
        asked = {"sky_command": list(sky_command), "config_map": config_map, **arguments}
        return self.trigger(self.dag("airflow_pods_probe_dag.py", asked))

    def pipeline(self, *, envs: Mapping[str, str], secrets: Mapping[str, str]) -> Run:
        """The project's pipeline with more envs, and secrets by their places in Kubernetes."""
        source = self.household.root / "dags" / "sky_train_pipeline.py"
        return self.trigger(self.dag("airflow_pods_pipeline_dag.py", {"source": str(source), "envs": dict(envs), "secrets": dict(secrets)}))

    def example(self) -> Run:
        return self.trigger(EXAMPLE)


def prepare() -> None:
    """What `serve` is given: nothing, for Airflow is among the requirements."""


def serve(household: Household, prepared: None) -> Iterator[Orchestra]:
    yield from serve_airflow(household, Orchestra, (PIPELINE, EXAMPLE))
