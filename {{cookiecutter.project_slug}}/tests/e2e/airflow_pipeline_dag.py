"""The project's pipeline, edited as a user with an S3 store does: more envs, and secrets by their names."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

from sky_orchestrate.airflow.operators import SkyTaskOperator

_asked = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
dag = runpy.run_path(_asked["source"])["dag"]
dag.dag_id = Path(__file__).stem
for step in dag.tasks:
    if isinstance(step, SkyTaskOperator):
        step.envs_override = {**(step.envs_override or {}), **_asked["envs"]}
        step.secrets = _asked["secrets"]
