"""Deploying: build, bring, apply, wait, and say what to open. Only `give_rights` needs a cluster's admin."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from kube import images, rollout
from kube.commands import KubeError, ask, look, need, reachable
from kube.images import Image
from kube.project import Project

# Never committed, and beside each what it looks like.
_GIVEN = ("worker.env", "secrets.env")


def give_rights(project: Project) -> None:
    """The namespaces, and what the service accounts in them may do."""
    need("kubectl")
    reachable()
    for folder in rights(project):
        cure = "this takes a cluster admin, once: have one run `make kubernetes-rights`"
        print(ask("kubectl", "apply", "--kustomize", str(folder), cure=cure), end="")


def rights(project: Project) -> list[Path]:
    """The folders of manifests that a cluster's admin applies."""
    folders = ("base/namespace", "skypilot/rights", "orchestrator/rights")
    return [project.manifests / folder for folder in folders if (project.manifests / folder).is_dir()]


def deploy(project: Project, *, overlay: str = "", registry: str = "", load: str = "", within: float = 600) -> None:
    need("kubectl", "docker")
    context = reachable()
    bring = images.way(context, registry, load)
    if bring[0] == "kind":
        need("kind")
    folder = chosen(project, overlay, context)
    fill_in(project, at_home=folder.name == "kind")
    wanted = rendered(folder)
    look_for_namespaces(wanted)
    built = [images.build(project, name, images.repository(project, name, registry)) for name in images_of(wanted)]
    for image in built:
        images.bring(image, bring)
    manifests = rendered(folder, built)
    ask("kubectl", "apply", "--filename", "-", given=yaml.safe_dump_all(manifests), cure="the namespace's `edit` role is enough for it")
    deployments = [(one["metadata"]["namespace"], one["metadata"]["name"]) for one in manifests if one["kind"] == "Deployment"]
    rollout.wait(deployments, within=within)
    print(rollout.what_to_open(manifests))


def chosen(project: Project, overlay: str, context: str) -> Path:
    """The overlay's folder: the one that was asked for, else by the cluster's kind."""
    named = overlay or ("kind" if context.startswith("kind-") else "cluster")
    found = [folder for folder in (project.manifests / "overlays" / named, Path(named)) if (folder / "kustomization.yaml").is_file()]
    if not found:
        there = ", ".join(sorted(folder.name for folder in (project.manifests / "overlays").iterdir()))
        raise KubeError(f"there is no overlay {named}; there are: {there}, and any folder with a kustomization.yaml")
    return found[0].resolve()


def fill_in(project: Project, *, at_home: bool) -> None:
    """The files that are never committed. On a cluster of this machine the examples will do."""
    folder = project.manifests / "orchestrator"
    for name in _GIVEN:
        example = f"manifests/orchestrator/{name}.example"
        if not (folder / name).exists():
            if not at_home:
                raise KubeError(f"manifests/orchestrator/{name} is missing; cp {example} manifests/orchestrator/{name}, and fill it in")
            shutil.copy(folder / f"{name}.example", folder / name)
            (folder / name).chmod(0o600)
            print(f"manifests/orchestrator/{name}: made from {example}")


def rendered(overlay: Path, built: Sequence[Image] = ()) -> list[dict[str, Any]]:
    """The overlay's manifests, with these images in place of the manifests' names for them."""
    with tempfile.TemporaryDirectory() as folder:
        renamed = [{"name": image.name, "newName": image.repository, "newTag": image.tag} for image in built]
        above = {"resources": [os.path.relpath(overlay, Path(folder).resolve())], "images": renamed}
        (Path(folder) / "kustomization.yaml").write_text(json.dumps(above))
        made = ask("kubectl", "kustomize", folder, cure="the manifests do not fit together; what was changed last?")
    return [_knows_its_image(manifest) for manifest in yaml.safe_load_all(made) if manifest]


def _knows_its_image(manifest: dict[str, Any]) -> dict[str, Any]:
    """Pods that make pods are told by a variable which image is theirs, which kustomize does not fill in."""
    for container in containers(manifest):
        for variable in container.get("env", []):
            if variable["name"] == "SKY_ORCHESTRATE_IMAGE":
                variable["value"] = container["image"]
    return manifest


def images_of(manifests: Sequence[dict[str, Any]]) -> list[str]:
    """Those that are built here."""
    return sorted({container["image"] for manifest in manifests for container in containers(manifest)} & images.DOCKERFILES.keys())


def containers(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    spec = manifest.get("spec", {})
    template = spec.get("jobTemplate", {}).get("spec", spec).get("template", {})
    pod = template.get("spec", {})
    return [*pod.get("initContainers", []), *pod.get("containers", [])]


def look_for_namespaces(manifests: Sequence[dict[str, Any]]) -> None:
    for name in sorted({manifest["metadata"].get("namespace", "") for manifest in manifests} - {""}):
        # Whoever may not read the namespace itself sees its service account.
        try:
            found = look("serviceaccount", "default", "--namespace", name)
        except KubeError as error:
            raise KubeError(f"{error}; your user needs the role `edit` in the namespace {name}, which its admin gives") from None
        if found is None:
            raise KubeError(f"there is no namespace {name}; a cluster admin makes it and its roles, once: make kubernetes-rights")
