"""The manifests: valid by Kubernetes' own schemas, restricted, and with no rights and no secrets but those listed here."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from kube.deployment import containers
from tests.kube.kubectl import NEEDS_KUBECTL

ROOT = Path(__file__).resolve().parents[1]
MANIFESTS = ROOT / "manifests"
VERSION = "1.30"
# Manifests that kubectl takes; the others are kustomize's, SkyPilot's and Helm's own.
NOT_KUBERNETES = ("kustomization.yaml", "config.yaml")
FILES = sorted(
    path.relative_to(MANIFESTS).as_posix()
    for path in MANIFESTS.rglob("*.yaml")
    if path.name not in NOT_KUBERNETES and not path.name.endswith("values.yaml") and "overlays" not in path.parts
)
KUSTOMIZATIONS = sorted(path.parent.relative_to(MANIFESTS).as_posix() for path in MANIFESTS.rglob("kustomization.yaml"))
SLUG = yaml.safe_load((MANIFESTS / "base/namespace/namespace.yaml").read_text())["metadata"]["name"]
SKY = f"{SLUG}-skypilot"


def of(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((MANIFESTS / name).read_text()))


def everything() -> list[dict[str, Any]]:
    return [manifest for name in FILES for manifest in of(name)]


def pods() -> list[tuple[str, dict[str, Any]]]:
    """The spec of every pod there may be, by the name of what makes it."""
    specs: list[tuple[str, dict[str, Any]]] = []
    for manifest in everything():
        if containers(manifest):
            spec = manifest["spec"]
            template = spec.get("jobTemplate", {}).get("spec", spec)["template"]
            specs.append((manifest["metadata"]["name"], template["spec"]))
    return specs


@pytest.fixture(scope="session")
def filled_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder as a user has it, with the files that are never committed."""
    folder = tmp_path_factory.mktemp("filled") / "manifests"
    shutil.copytree(MANIFESTS, folder)
    for example in folder.rglob("*.env.example"):
        shutil.copy(example, example.with_suffix(""))
    return folder


def kustomized(folder: Path) -> list[dict[str, Any]]:
    made = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return list(yaml.safe_load_all(made.stdout))


@pytest.mark.parametrize("name", FILES)
def test_each_manifest_is_valid(name: str) -> None:
    for manifest in of(name):
        kubernetes_validate.validate(manifest, VERSION, strict=True)


@NEEDS_KUBECTL
@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_what_kustomize_makes_of_each_folder_is_valid_and_in_a_namespace_of_ours(filled_in: Path, name: str) -> None:
    manifests = kustomized(filled_in / name)
    assert manifests
    for manifest in manifests:
        kubernetes_validate.validate(manifest, VERSION, strict=True)
        if manifest["kind"] not in ("Namespace", "ClusterRole", "ClusterRoleBinding"):
            assert manifest["metadata"].get("namespace") in (SLUG, SKY), manifest["metadata"]


OVERLAYS = [
    pytest.param("kind", {SLUG, SKY}, id="kind has everything"),
    pytest.param("cluster", {SLUG}, id="a cluster of yours has the orchestrator's side"),
]


@NEEDS_KUBECTL
@pytest.mark.parametrize(("overlay", "namespaces"), OVERLAYS)
def test_an_overlay_is_whole_and_asks_for_no_rights_of_an_admin(filled_in: Path, overlay: str, namespaces: set[str]) -> None:
    manifests = kustomized(filled_in / "overlays" / overlay)
    assert {manifest["metadata"]["namespace"] for manifest in manifests} == namespaces
    kinds = {manifest["kind"] for manifest in manifests}
    assert not kinds & {"Namespace", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
    assert {"CronJob", "NetworkPolicy"} <= kinds
    there = {(one["kind"], one["metadata"]["namespace"], one["metadata"]["name"]) for one in manifests}
    for manifest in manifests:
        for container in containers(manifest):
            for source in container.get("envFrom", []):
                for kind, reference in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                    if reference in source:
                        assert (kind, manifest["metadata"]["namespace"], source[reference]["name"]) in there


@pytest.mark.parametrize(("name", "pod"), pods(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_pod_keeps_to_restricted_pod_security_and_says_what_it_needs(name: str, pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
    kinds = {kind for volume in pod.get("volumes", []) for kind in volume if kind != "name"}
    assert kinds <= {"emptyDir", "configMap", "persistentVolumeClaim", "secret"}


@pytest.mark.parametrize(("name", "pod"), pods(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_pod_has_a_token_only_where_a_role_is_written_for_it(name: str, pod: dict[str, Any]) -> None:
    bound = {binding["subjects"][0]["name"] for binding in everything() if binding["kind"] == "RoleBinding"}
    if "serviceAccountName" in pod:
        assert pod["serviceAccountName"] in bound
    else:
        assert pod["automountServiceAccountToken"] is False
        assert all(container["securityContext"]["readOnlyRootFilesystem"] is True for container in pod["containers"])


# Every right there is. A verb more is one to give a reason for here and in the file.
RIGHTS = {
    ("Role", "sky-api-server"): {
        "pods": {"create", "get", "list", "patch", "delete"},
        "pods/exec": {"create", "get"},
        "pods/portforward": {"create", "get"},
        "services": {"create", "list", "patch", "delete", "deletecollection"},
        "events": {"list"},
    },
    ("ClusterRole", f"{SLUG}-sky-api-server"): {"nodes": {"get", "list"}, "runtimeclasses": {"list"}},
    ("Role", "sky-cluster"): {"pods": {"get", "list", "delete"}, "services": {"delete", "deletecollection"}, "events": {"create"}},
}


def test_the_roles_hold_the_listed_verbs_and_no_others() -> None:
    roles = [one for one in of("skypilot/rights/sky-sa.yaml") if one["kind"] in ("Role", "ClusterRole")]
    assert {(role["kind"], role["metadata"]["name"]): held_by(role) for role in roles} == RIGHTS
    elsewhere = {name for name in FILES for one in of(name) if "Role" in one["kind"]} - {"skypilot/rights/sky-sa.yaml"}
    assert [name for name in elsewhere if not name.startswith("orchestrator/rights/")] == []


def held_by(role: dict[str, Any]) -> dict[str, set[str]]:
    return {resource: set(rule["verbs"]) for rule in role["rules"] for resource in rule["resources"]}


def test_every_right_is_given_with_its_reason() -> None:
    for name in (name for name in FILES if "/rights/" in name):
        lines = (MANIFESTS / name).read_text().splitlines()
        rules = [number for number, line in enumerate(lines) if line.startswith("  - apiGroups:")]
        assert [lines[number] for number in rules if not lines[number - 1].startswith("  # ")] == []


def test_roles_are_bound_to_our_own_accounts_and_never_to_a_role_of_the_clusters() -> None:
    own = {(one["kind"], one["metadata"]["name"]) for one in everything()}
    for binding in (one for one in everything() if one["kind"].endswith("RoleBinding")):
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) in own
        assert [subject["kind"] for subject in binding["subjects"]] == ["ServiceAccount"]
        assert ("ServiceAccount", binding["subjects"][0]["name"]) in own


@pytest.mark.parametrize("path", sorted(MANIFESTS.rglob("Dockerfile")), ids=lambda path: path.parent.name)
def test_an_image_is_built_from_files_that_are_there_and_locked(path: Path) -> None:
    text = path.read_text()
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE)
    sources = [name for names in copied for name in names.split() if not name.startswith("--")]
    assert sources
    assert [name for name in sources if not (ROOT / name).exists()] == []
    assert "pip install --no-cache-dir --no-deps --require-hashes -r" in text
    # What it copies is not among what Docker is not given.
    ignored = {line.rstrip("/") for line in (ROOT / ".dockerignore").read_text().splitlines()}
    assert not ignored & {name.split("/")[0] for name in sources}


@pytest.mark.parametrize(("name", "pod"), pods(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_pod_of_an_image_of_ours_runs_as_the_user_that_the_image_has(name: str, pod: dict[str, Any]) -> None:
    dockerfiles = {"project": MANIFESTS / "Dockerfile", "sky-api-server": MANIFESTS / "skypilot" / "Dockerfile"}
    for container in pod["containers"]:
        if container["image"] in dockerfiles:
            text = dockerfiles[container["image"]].read_text()
            uid, gid = pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]
            assert f"USER {uid}:{gid}" in text
            assert f"useradd --uid {uid}" in text


def test_gpu_nodes_are_chosen_in_skypilots_configuration_and_not_in_task_files() -> None:
    config = yaml.safe_load((MANIFESTS / "skypilot" / "config.yaml").read_text())
    spec = config["kubernetes"]["pod_config"]["spec"]
    assert [toleration["key"] for toleration in spec["tolerations"]] == ["nvidia.com/gpu"]
    assert config["kubernetes"]["remote_identity"] in {one["metadata"]["name"] for one in everything() if one["kind"] == "ServiceAccount"}
    for path in (ROOT / "tasks").glob("*.yaml"):
        assert not re.search(r"nodeSelector|toleration|pod_config", path.read_text())


@pytest.mark.parametrize("path", sorted(MANIFESTS.rglob("*-values.yaml")), ids=lambda path: path.stem)
def test_an_official_chart_gets_our_accounts_and_makes_no_rights(path: Path) -> None:
    values = yaml.safe_load(path.read_text())
    parts = [part["serviceAccount"] for part in values.values() if isinstance(part, dict) and "serviceAccount" in part]
    named = {part["name"] for part in parts} | {values["rbac"].get("serviceAccountName")} - {None}
    assert named
    assert named <= {one["metadata"]["name"] for one in everything() if one["kind"] == "ServiceAccount"}
    assert values["rbac"]["create"] is False
    assert [part for part in parts if part["create"]] == []


def test_no_secret_can_be_committed() -> None:
    ignored = (MANIFESTS / "orchestrator" / ".gitignore").read_text().split()
    assert {"worker.env", "secrets.env"} <= set(ignored)
    assert [one for one in everything() if one["kind"] == "Secret"] == []
    lines = [line for line in (MANIFESTS / "orchestrator" / "secrets.env.example").read_text().splitlines() if line and line[0] != "#"]
    assert lines
    assert all(line.endswith("=") for line in lines)
