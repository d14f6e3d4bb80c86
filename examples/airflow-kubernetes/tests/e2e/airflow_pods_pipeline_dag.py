"""The project's pipeline, edited as a user with an S3 store does: more envs, and secrets by their places in Kubernetes."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

from sky_orchestrate.airflow_pods.operator import SkyPodOperator
from sky_orchestrate.airflow_pods.pod import secret_variables

_asked = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
dag = runpy.run_path(_asked["source"])["dag"]
dag.dag_id = Path(__file__).stem
for step in dag.tasks:
    if isinstance(step, SkyPodOperator) and step.sky_command[0] == "run":
        step.sky_command = [*step.sky_command, *(part for name, value in _asked["envs"].items() for part in ("--env", f"{name}={value}"))]
        step.task_secrets = _asked["secrets"]
        step.env_vars = [*step.env_vars, *secret_variables(_asked["secrets"])]
