"""The project's images: built by Docker, tagged by what is in them, and brought to where the cluster's nodes find them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from kube.commands import KubeError, ask, show
from kube.project import Project

# The manifests' names for images, and the files they are built from.
DOCKERFILES = {"project": "manifests/Dockerfile", "sky-api-server": "manifests/skypilot/Dockerfile"}
# Other base images than the Dockerfiles', where a registry's mirror is used.
_BUILD_ARGUMENTS = ("PYTHON_IMAGE", "KUBECTL_IMAGE")


@dataclass(frozen=True)
class Image:
    """What the manifests call `name` is `repository:tag`."""

    name: str
    repository: str
    tag: str

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"


def build(project: Project, name: str, repository: str) -> Image:
    """The tag is the image's own id: what has changed gets another one, and so a restart."""
    given = [f"--build-arg={argument}={os.environ[argument]}" for argument in _BUILD_ARGUMENTS if os.environ.get(argument)]
    latest = f"{repository}:latest"
    show(
        *("docker", "build", "--file", DOCKERFILES[name], "--tag", latest, *given, "."),
        cwd=project.root,
        cure="a base image that cannot be pulled is named otherwise by PYTHON_IMAGE or KUBECTL_IMAGE in the environment",
    )
    identity = ask("docker", "image", "inspect", "--format", "{{.Id}}", latest).strip()
    image = Image(name, repository, identity.removeprefix("sha256:")[:12])
    ask("docker", "tag", latest, str(image))
    return image


def repository(project: Project, name: str, registry: str) -> str:
    own = project.slug if name == "project" else f"{project.slug}-{name}"
    return f"{registry.rstrip('/')}/{own}" if registry else own


def way(context: str, registry: str, load: str) -> Sequence[str]:
    """The command that brings an image to the cluster."""
    if load:
        return shlex.split(load)
    if registry:
        return ("docker", "push")
    if context.startswith("kind-"):
        return ("kind", "load", "docker-image", "--name", context.removeprefix("kind-"))
    raise KubeError(
        f"the nodes of {context} cannot see this machine's images; name your registry (make deploy-kubernetes ARGS='--registry "
        "registry.example.com/team'), or the command that copies an image to them (--load 'minikube image load')"
    )


def bring(image: Image, command: Sequence[str]) -> None:
    show(*command, str(image), cure="is the registry's name right, and are you logged in (docker login)?")
