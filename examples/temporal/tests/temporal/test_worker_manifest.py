"""What the Temporal worker's pod runs, and how Kubernetes sees that it lives and can work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sky_orchestrate import dotenv
from sky_orchestrate.settings import Settings
from temporal.worker_settings import WorkerSettings, worker_settings

ROOT = Path(__file__).resolve().parents[2]
DEPLOYMENT: dict[str, Any] = next(yaml.safe_load_all((ROOT / "manifests" / "orchestrator" / "worker.yaml").read_text()))
POD: dict[str, Any] = DEPLOYMENT["spec"]["template"]["spec"]
WORKER: dict[str, Any] = POD["containers"][0]


@pytest.fixture
def settings() -> WorkerSettings:
    """As the worker reads its ConfigMap, as it is shipped."""
    shipped = dotenv.read(ROOT / "manifests" / "orchestrator" / "worker.env.example")
    return worker_settings(Settings(root=ROOT, slug="proj", owner="proj", variables=shipped))


def test_the_pod_runs_the_projects_worker() -> None:
    program, script, *options = WORKER["args"]
    assert program == "python"
    assert (ROOT / script).is_file()
    assert options == ["--with-reaper"]


@pytest.mark.parametrize(("probe", "path"), [("startupProbe", "/live"), ("livenessProbe", "/live"), ("readinessProbe", "/ready")])
def test_each_probe_asks_the_health_page_on_its_port(settings: WorkerSettings, probe: str, path: str) -> None:
    asked = WORKER[probe]["httpGet"]
    assert asked["path"] == path
    assert settings.health == f"0.0.0.0:{_port(asked['port'])}"


def test_prometheus_finds_the_metrics(settings: WorkerSettings) -> None:
    assert settings.metrics == f"0.0.0.0:{_port('metrics')}"


def test_the_pod_gets_longer_to_end_than_its_worker_takes(settings: WorkerSettings) -> None:
    assert POD["terminationGracePeriodSeconds"] > settings.shutdown


def _port(name: str) -> int:
    (port,) = (port["containerPort"] for port in WORKER["ports"] if port["name"] == name)
    return port
