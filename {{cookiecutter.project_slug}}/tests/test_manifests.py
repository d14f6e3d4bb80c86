"""The worker's manifests: valid by Kubernetes' own schemas, restricted, and without rights or secrets."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
MANIFESTS = ROOT / "manifests"


def pod() -> dict[str, Any]:
    return yaml.safe_load((MANIFESTS / "worker.yaml").read_text())["spec"]["template"]["spec"]


@pytest.fixture
def filled_in(tmp_path: Path) -> Path:
    """The folder as a user has it, with the two files that are never committed."""
    shutil.copytree(MANIFESTS, tmp_path / "manifests")
    for name in ("worker.env", "secrets.env"):
        shutil.copy(MANIFESTS / f"{name}.example", tmp_path / "manifests" / name)
    return tmp_path / "manifests"


@pytest.mark.parametrize("name", sorted(path.name for path in MANIFESTS.glob("*.yaml") if path.name != "kustomization.yaml"))
def test_each_manifest_is_valid(name: str) -> None:
    for manifest in yaml.safe_load_all((MANIFESTS / name).read_text()):
        kubernetes_validate.validate(manifest, "1.30", strict=True)


# kustomize comes with kubectl, which is no Python package: without it the schemas above still hold.
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_what_kustomize_makes_of_them_is_valid_and_whole(filled_in: Path) -> None:
    made = subprocess.run(["kubectl", "kustomize", str(filled_in)], capture_output=True, text=True, check=True).stdout
    manifests = list(yaml.safe_load_all(made))
    for manifest in manifests:
        kubernetes_validate.validate(manifest, "1.30", strict=True)
    assert sorted(manifest["kind"] for manifest in manifests) == ["ConfigMap", "Deployment", "Namespace", "Secret"]
    names = {manifest["kind"]: manifest["metadata"]["name"] for manifest in manifests}
    deployment = next(manifest for manifest in manifests if manifest["kind"] == "Deployment")
    (worker,) = deployment["spec"]["template"]["spec"]["containers"]
    assert worker["envFrom"] == [{"configMapRef": {"name": names["ConfigMap"]}}, {"secretRef": {"name": names["Secret"]}}]
    assert worker["image"].startswith("registry.example.com/")


def test_the_worker_keeps_to_restricted_pod_security() -> None:
    own = pod()["securityContext"]
    assert own["runAsNonRoot"]
    assert own["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod()["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert all(set(volume) == {"name", "emptyDir"} for volume in pod()["volumes"])
    namespace = yaml.safe_load((MANIFESTS / "namespace.yaml").read_text())
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_worker_has_no_rights_in_kubernetes() -> None:
    assert pod()["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in pod()
    kinds = [manifest["kind"] for path in MANIFESTS.glob("*.yaml") for manifest in yaml.safe_load_all(path.read_text())]
    assert not [kind for kind in kinds if "Role" in kind or kind == "ServiceAccount"]


def test_the_image_holds_what_it_copies_and_each_is_there() -> None:
    copied = re.findall(r"^COPY (.*) \S+$", (MANIFESTS / "Dockerfile").read_text(), re.MULTILINE)
    sources = [name for names in copied for name in names.split()]
    assert {"requirements.txt", "pyproject.toml", "sky_orchestrate", "tasks", "workload"} <= set(sources)
    assert [name for name in sources if not (ROOT / name).exists()] == []


def test_the_worker_runs_as_a_user_that_the_image_has() -> None:
    image = (MANIFESTS / "Dockerfile").read_text()
    uid, home = pod()["securityContext"]["runAsUser"], next(env["value"] for env in pod()["containers"][0]["env"] if env["name"] == "HOME")
    assert f"USER {uid}:{pod()['securityContext']['runAsGroup']}" in image
    assert f"useradd --uid {uid} --home-dir {home} " in image


def test_no_secret_can_be_committed() -> None:
    ignored = (MANIFESTS / ".gitignore").read_text().split()
    assert {"worker.env", "secrets.env"} <= set(ignored)
    lines = [line for line in (MANIFESTS / "secrets.env.example").read_text().splitlines() if line and not line.startswith("#")]
    assert lines
    assert all(line.endswith("=") for line in lines)
