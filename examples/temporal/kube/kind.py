"""A cluster in Docker on this machine, by kind. It has the project's name, and is removed with all that is in it."""

from __future__ import annotations

from kube import deployment
from kube.commands import KubeError, ask, need, show
from kube.project import Project

# By this label SkyPilot finds a node's GPU. The four are pretended: a pod that asks for one is given nothing.
_LABEL = "skypilot.co/accelerator"
_PRETENDED = '{"status":{"capacity":{"nvidia.com/gpu":"4"},"allocatable":{"nvidia.com/gpu":"4"}}}'


def up(project: Project) -> None:
    """The cluster, with the project's namespaces and rights in it. One that is there is used as it is."""
    need("docker", "kind", "kubectl")
    if project.slug not in _clusters():
        again = f"remove what is left and try again: make kind-down; or look: kind export logs --name {project.slug}"
        show("kind", "create", "cluster", "--name", project.slug, "--wait", "180s", cure=again)
    ask("kubectl", "config", "use-context", f"kind-{project.slug}")
    if project.gpu:
        for node in ask("kubectl", "get", "nodes", "--output", "name").split():
            ask("kubectl", "label", "--overwrite", node, f"{_LABEL}={project.gpu.lower()}")
            ask("kubectl", "patch", node, "--subresource=status", "--type=merge", "--patch", _PRETENDED)
    deployment.give_rights(project)
    pretended = f", and its node has four pretended {project.gpu}s" if project.gpu else ""
    print(f"The cluster kind-{project.slug} is up{pretended}. Next: make deploy-kubernetes")


def down(project: Project) -> None:
    need("docker", "kind")
    if project.slug not in _clusters():
        raise KubeError(f"there is no kind cluster {project.slug}; which there are: kind get clusters")
    show("kind", "delete", "cluster", "--name", project.slug, cure="what is left of it: docker ps")


def _clusters() -> list[str]:
    return ask("kind", "get", "clusters").split()
