"""A DAG of one pod, as a user writes one. The tests copy it into a folder of DAGs, with the pod's arguments beside it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG
from kubernetes.client import models as k8s

from sky_orchestrate.airflow_pods.operator import SkyPodOperator
from sky_orchestrate.airflow_pods.pod import task_pod

_asked: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
_config_map = _asked.pop("config_map")
_pod = task_pod()

with DAG(dag_id=Path(__file__).stem, schedule=None, catchup=False) as dag:
    if _config_map:
        source = k8s.V1ConfigMapVolumeSource(name=_config_map)
        _asked["volumes"] = [*_pod["volumes"], k8s.V1Volume(name="task", config_map=source)]
        _asked["volume_mounts"] = [*_pod["volume_mounts"], k8s.V1VolumeMount(name="task", mount_path="/task")]
    SkyPodOperator(task_id="step", retry_delay=timedelta(seconds=1), **_asked)
