"""Airflow with a home of its own, tasks as it would carry them out, and a Kubernetes that only takes notes."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from tests.conftest import ROOT

# Airflow reads its settings when it is first imported.
HOME = tempfile.mkdtemp(prefix="sky-airflow-")
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
for name in [name for name in os.environ if name.startswith(("AIRFLOW_", "SKY_ORCHESTRATE_"))]:
    del os.environ[name]
os.environ.update(
    AIRFLOW_HOME=HOME,
    AIRFLOW__CORE__DAGS_FOLDER=str(ROOT / "dags"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS="True",
    AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE="True",
    AIRFLOW_CONN_KUBERNETES_DEFAULT='{"conn_type": "kubernetes", "extra": {"namespace": "pipelines"}}',
)

RUN = "manual__2026-11-25T10:00:00+00:00"


def context_of(task: Any, *, try_number: int = 1, map_index: int = -1, states: Any = None, run_id: str = RUN) -> Any:
    """What Airflow gives to a task. `states` are those that Airflow tells of the run's tasks."""
    ti = SimpleNamespace(
        dag_id=task.dag.dag_id if task.has_dag() else "pipeline",
        task_id=task.task_id,
        run_id=run_id,
        map_index=map_index,
        try_number=try_number,
        get_task_states=lambda dag_id, **_: {run_id: states or {task.task_id: "running"}},
        xcom_pull=lambda **_: {"cluster_name": "sky-train-pipe-example-0123456789"},
    )
    dag = task.dag if task.has_dag() else SimpleNamespace(dag_id="pipeline")
    params = dict(dag.params.items()) if task.has_dag() else {}
    return {"ti": ti, "run_id": run_id, "dag": dag, "params": params, "task": task}


def pod_of(task: Any, **given: Any) -> Any:
    """The pod as it would be sent to Kubernetes, templates rendered."""
    context = context_of(task, **given)
    if task.has_dag():
        task.render_template_fields(context, task.dag.get_template_env())
    return task.build_pod_request_obj(context, dry_run=True)


def base_of(pod: Any) -> Any:
    return next(container for container in pod.spec.containers if container.name == "base")


@dataclass
class Notes:
    """Kubernetes' API, as far as a cancel asks it. `running`: whether there is anything in the pod to run a command beside."""

    running: bool = True
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def patch_namespaced_pod(self, *, name: str, namespace: str, body: Any) -> None:
        self.calls.append(("label", name, body["metadata"]["labels"]))

    def delete_namespaced_pod(self, *, name: str, namespace: str, grace_period_seconds: int) -> None:
        self.calls.append(("delete", name, grace_period_seconds))

    def connect_get_namespaced_pod_exec(self) -> None:
        raise AssertionError("called by stream alone")

    def stream(self, call: Any, name: str, namespace: str, *, container: str, command: list[str], **_: Any) -> str:
        if not self.running:
            raise ApiException(status=0, reason="Handshake status 500 Internal Server Error")
        self.calls.append(("exec", container, command[-1]))
        return ""

    @property
    def kinds(self) -> list[str]:
        return [f"{call[0]} {call[1]}" if call[0] == "exec" else call[0] for call in self.calls]


@pytest.fixture
def kubernetes(monkeypatch: pytest.MonkeyPatch) -> Notes:
    from sky_orchestrate.airflow_pods import ending

    notes = Notes()
    monkeypatch.setattr(ending, "stream", notes.stream)
    return notes
