"""What the Prefect worker's pod runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"


def test_the_worker_polls_this_projects_pool_as_prefect_yaml_deploys_to_it() -> None:
    pod: dict[str, Any] = yaml.safe_load((MANIFESTS / "worker.yaml").read_text())["spec"]["template"]["spec"]
    (worker,) = pod["containers"]
    namespace = yaml.safe_load((MANIFESTS / "namespace.yaml").read_text())
    assert worker["args"][-2:] == ["--pool", namespace["metadata"]["name"]]
    assert worker["args"][:3] == ["prefect", "worker", "start"]
