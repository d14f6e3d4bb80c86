"""What the Prefect worker's pod runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"


def test_the_worker_polls_this_projects_pool_as_prefect_yaml_deploys_to_it() -> None:
    deployment, _ = yaml.safe_load_all((MANIFESTS / "orchestrator" / "worker.yaml").read_text())
    pod: dict[str, Any] = deployment["spec"]["template"]["spec"]
    (worker,) = pod["containers"]
    namespace = yaml.safe_load((MANIFESTS / "base" / "namespace" / "namespace.yaml").read_text())
    assert worker["args"][-2:] == ["--pool", namespace["metadata"]["name"]]
    assert worker["args"][:3] == ["prefect", "worker", "start"]


def test_the_worker_finds_the_server_that_the_overlay_for_kind_brings() -> None:
    server, service = yaml.safe_load_all((MANIFESTS / "orchestrator" / "server" / "server.yaml").read_text())
    example = (MANIFESTS / "orchestrator" / "worker.env.example").read_text()
    assert f"PREFECT_API_URL=http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}/api" in example.splitlines()
    (container,) = server["spec"]["template"]["spec"]["containers"]
    assert container["args"][-1] == str(service["spec"]["ports"][0]["port"])
