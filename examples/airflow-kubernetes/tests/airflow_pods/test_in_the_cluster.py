"""Airflow's own manifests: what its pod makes of the template, from which KubernetesExecutor makes a pod for each task."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

SERVER = ROOT / "manifests" / "orchestrator" / "server"
IMAGE = "registry.example.com/team/project:0123456789ab"


@pytest.fixture
def template(tmp_path: Path) -> dict[str, Any]:
    """The template as the pod's first container leaves it."""
    deployment = next(one for one in yaml.safe_load_all((SERVER / "airflow.yaml").read_text()) if one["kind"] == "Deployment")
    (script,) = deployment["spec"]["template"]["spec"]["initContainers"][0]["args"]
    (line,) = [line for line in script.splitlines() if "pod-template.yaml" in line]
    environ = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "SKY_ORCHESTRATE_IMAGE": IMAGE}
    subprocess.run(["sh", "-euc", line.replace("/etc/airflow", str(SERVER))], env=environ, check=True, timeout=30)
    return yaml.safe_load((tmp_path / "pod-template.yaml").read_text())


def test_a_tasks_pod_has_the_image_of_airflows_own_and_is_told_of_it_for_the_pods_it_makes(template: dict[str, Any]) -> None:
    (container,) = template["spec"]["containers"]
    assert container["image"] == IMAGE
    assert {one["name"]: one["value"] for one in container["env"]}["SKY_ORCHESTRATE_IMAGE"] == IMAGE


def test_a_tasks_log_stays_on_airflows_volume_where_its_page_reads_it(template: dict[str, Any]) -> None:
    (container,) = template["spec"]["containers"]
    logs = next(one for one in container["volumeMounts"] if one["mountPath"] == "/home/worker/airflow/logs")
    volume = next(one for one in template["spec"]["volumes"] if one["name"] == logs["name"])
    claims = [one["metadata"]["name"] for one in yaml.safe_load_all((SERVER / "airflow.yaml").read_text()) if "Claim" in one["kind"]]
    assert [volume["persistentVolumeClaim"]["claimName"]] == claims
