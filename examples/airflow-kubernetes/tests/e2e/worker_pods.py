"""Airflow as the manifests run it, each of its tasks in a pod by KubernetesExecutor, and DAG runs through it.

Every flavour that runs on Kubernetes has such a module, with the names that the tests of all of them use.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conftest import ROOT
from tests.e2e.airflow_run import Api, Run
from tests.e2e.orchestra import EXAMPLE, PIPELINE, Orchestra
from tests.e2e.processes import Household, until

if TYPE_CHECKING:
    from tests.e2e.deployed.deployment import Deployed

SERVER, PORT, WORKER = "airflow", 8080, "airflow"
PROBES: Sequence[str] = ()
STEP = "e2e_step"
_KEY = "value"
_ENVS = ("DATA_BUCKET_NAME", "DATA_BUCKET_STORE_TYPE", "AWS_ENDPOINT_URL")
# Names of Secrets, and by them those of the task.
_SECRETS = {"AWS_ACCESS_KEY_ID": f"e2e-key-id/{_KEY}", "AWS_SECRET_ACCESS_KEY": f"e2e-key/{_KEY}"}


def _of_the_run(name: str) -> str:
    """What a run is given when it is triggered."""
    return f"{{{{ dag_run.conf['{name}'] }}}}"


def _dag(name: str, source: str, asked: Mapping[str, object]) -> Mapping[str, str]:
    return {f"dags/{name}.py": (Path(__file__).parent / source).read_text(), f"dags/{name}.json": json.dumps(asked)}


# DAGs of the tests, and the pipeline with its own name in the place of the project's: users' DAGs are part of the image too.
IN_IMAGE: Mapping[str, str] = {
    **_dag(STEP, "airflow_pods_probe_dag.py", {"sky_command": ["run", "/task/task.yaml"], "config_map": _of_the_run("config_map")}),
    **_dag(
        PIPELINE,
        "airflow_pods_pipeline_dag.py",
        {"source": "/app/dags/unedited.txt", "envs": {name: _of_the_run(name) for name in _ENVS}, "secrets": _SECRETS},
    ),
    "dags/unedited.txt": (ROOT / "dags" / "sky_train_pipeline.py").read_text(),
    "dags/sky_train_pipeline.py": "",
}


def variables(address: str) -> Mapping[str, str]:
    """Of Airflow, the pods of its tasks and the reaper: where Airflow is. The dead are missed within seconds."""
    return {
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{address}:{PORT}/execution/",
        "AIRFLOW_API_URL": f"http://{address}:{PORT}",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
        "SKY_ORCHESTRATE_REAPER_GRACE": "0",
        # The example's one cluster keeps its data to itself.
        "DATA_BUCKET_URL": "file:///tmp/bucket",
    }


@dataclass
class PodOrchestra(Orchestra):
    """All of Airflow is one deployment's pod: another one comes by itself."""

    deployed: Deployed = field(kw_only=True)

    def keep_a_worker(self) -> None:
        self.deployed.until_ready(self.deployed.workers, WORKER)
        until("Airflow's API server answers", self.api.log_in, within=60)

    def kill_worker(self) -> None:
        self.deployed.kill(self.deployed.workers, WORKER)

    def leave(self) -> None:
        """Airflow goes away, and no other pod comes."""
        self._scale(0)
        self.deployed.workers.kubectl("wait", "pod", f"--selector=app.kubernetes.io/name={WORKER}", "--for=delete", "--timeout=90s")

    def come_back(self) -> None:
        self._scale(1)
        self.keep_a_worker()

    def keep_secret(self, name: str, value: str) -> None:
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {_KEY: value}}
        self.deployed.workers.kubectl("apply", "--filename", "-", given=json.dumps(secret))

    def pipeline(self, *, envs: Mapping[str, str], secrets: Mapping[str, str]) -> Run:
        """The project's pipeline with more envs, and secrets by the names of Kubernetes' Secrets."""
        assert {name: f"{secret}/{_KEY}" for name, secret in secrets.items()} == _SECRETS
        return self.trigger(PIPELINE, **envs)

    def _scale(self, replicas: int) -> None:
        self.deployed.workers.kubectl("scale", f"deployment/{WORKER}", f"--replicas={replicas}")


@contextmanager
def serve(deployed: Deployed, household: Household, port: int) -> Iterator[PodOrchestra]:
    """`port` of this machine leads to Airflow."""
    orchestra = PodOrchestra(household, Api(f"http://127.0.0.1:{port}"), household.folder, deployed=deployed)
    orchestra.keep_a_worker()
    known = (EXAMPLE, PIPELINE, STEP)
    until("the DAGs are known", lambda: all(orchestra.api.get(f"/dags/{dag}") for dag in known), within=120)
    yield orchestra
    orchestra.api.client.close()
