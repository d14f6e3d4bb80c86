"""The project's own manifests in a cluster, as a user who may edit its namespaces deploys them; both namespaces go with the tests.

Its commands are the Makefile's. SKY_E2E_LOAD is the command that copies an image to the nodes, and PYTHON_IMAGE and KUBECTL_IMAGE
name base images where Docker cannot pull the usual ones. A cluster need not have DNS or a default storage class.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from kube.deployment import rendered
from kube.project import Project
from tests.e2e import worker_pods
from tests.e2e.pods import Kubernetes
from tests.e2e.processes import PATIENCE, until

_NOT_STAGED = (".venv", ".local", ".build", ".git", "*.env", "__pycache__")
# The label of what stands outside of the namespaces.
_OURS = "sky-e2e"
_CATALOG = "/home/sky/.sky/catalogs/v8/kubernetes"


@dataclass(frozen=True)
class Deployed:
    """`project` is a copy of this project, with the files that are never committed; `skypilot` and `workers` are its namespaces."""

    project: Project
    workers: Kubernetes
    skypilot: Kubernetes

    def pod_of(self, where: Kubernetes, name: str) -> str:
        """The pod of a deployment that is there now, and not one that goes away."""
        (here,) = self._pods(where, name)
        return here

    def kill(self, where: Kubernetes, name: str) -> None:
        """With a second's notice: a forced deletion may leave its processes their usual grace. It is gone then, and another is made."""
        where.kubectl("delete", "pod", self.pod_of(where, name), "--grace-period=1", "--wait")
        until(f"{name} has another pod", lambda: self._pods(where, name), within=60)

    def may(self, home: Kubernetes, account: str, verb: str, resource: str, namespace: str) -> bool:
        """Whether the service account of the namespace `home` may do it in that namespace: skypilot, workers or one by its name."""
        where = {"skypilot": self.skypilot.namespace, "workers": self.workers.namespace}.get(namespace, namespace)
        who = f"--as=system:serviceaccount:{home.namespace}:{account}"
        asked = ["kubectl", "--kubeconfig", str(home.kubeconfig), "auth", "can-i", verb, resource, "--namespace", where, who]
        answer = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60).stdout.split()
        assert answer[-1:] in (["yes"], ["no"])
        return answer[-1] == "yes"

    def until_ready(self, where: Kubernetes, name: str) -> None:
        limit = f"--timeout={300 * PATIENCE:.0f}s"
        where.kubectl("rollout", "status", f"deployment/{name}", limit, within=310)
        # The deployment may not have heard yet that its pod was killed.
        where.kubectl("wait", f"pod/{self.pod_of(where, name)}", "--for=condition=Ready", limit, within=310)

    def _pods(self, where: Kubernetes, name: str) -> list[str]:
        found = json.loads(where.kubectl("get", "pods", "--selector", f"app.kubernetes.io/name={name}", "--output", "json"))["items"]
        return [pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]]


@contextmanager
def deployed(folder: Path, root: Path) -> Iterator[Deployed]:
    project = _staged(folder, root)
    workers, skypilot = (Kubernetes(folder / "kubeconfig", name, "parent=skypilot") for name in project.namespaces)
    workers.kubeconfig.touch(mode=0o600)
    workers.kubeconfig.write_text(_own_context())
    there = workers.kubectl("get", "namespaces", "--output", "name").split()
    assert not {f"namespace/{name}" for name in project.namespaces} & set(there), f"the cluster has {project.namespaces}: delete them"
    try:
        _make(project, workers.kubeconfig, "kubernetes-rights")
        _fill_in(project, workers, skypilot)
        editor = _editor(workers, skypilot, folder)
        _make(project, editor, "deploy-kubernetes", "--overlay", "e2e", "--load", os.environ.get("SKY_E2E_LOAD", ""))
        yield Deployed(project, workers, skypilot)
    finally:
        for namespace in (skypilot, workers):
            namespace.kubectl("delete", "namespace", namespace.namespace, "--ignore-not-found", "--wait", "--timeout=180s", within=190)
        roles = f"clusterrole/{project.slug}-sky-api-server", f"clusterrolebinding/{project.slug}-sky-api-server"
        workers.kubectl("delete", *roles, "--ignore-not-found")
        workers.kubectl("delete", "persistentvolumes", "--selector", f"{_OURS}={project.slug}")


@contextmanager
def forwarded(where: Kubernetes, service: str, port: int) -> Iterator[int]:
    """A port of this machine that leads to the service, again and again where its pod is another one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        own = probe.getsockname()[1]
    forward = f"kubectl --kubeconfig '{where.kubeconfig}' --namespace {where.namespace} port-forward service/{service} {own}:{port}"
    loop = subprocess.Popen(
        ["sh", "-c", f"while :; do {forward}; sleep 0.3; done"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield own
    finally:
        os.killpg(loop.pid, signal.SIGKILL)
        loop.wait()


def _staged(folder: Path, root: Path) -> Project:
    shutil.copytree(root, folder / "project", symlinks=True, ignore=shutil.ignore_patterns(*_NOT_STAGED))
    (folder / "project" / ".venv").symlink_to(root / ".venv")
    for path, text in worker_pods.IN_IMAGE.items():
        (folder / "project" / path).write_text(text)
    name = yaml.safe_load((root / "manifests" / "base" / "namespace" / "namespace.yaml").read_text())["metadata"]["name"]
    return Project(folder / "project", name)


def _make(project: Project, kubeconfig: Path, target: str, *arguments: str) -> None:
    """A target of the project's Makefile, in the copy, with this project's environment as it is."""
    environ = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    command = ["make", "--no-print-directory", "--old-file=.venv/.ready", target, f"ARGS={shlex.join(arguments)}"]
    done = subprocess.run(command, cwd=project.root, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def _own_context() -> str:
    command = ["kubectl", "config", "view", "--raw", "--minify", "--flatten"]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def _editor(workers: Kubernetes, skypilot: Kubernetes, folder: Path) -> Path:
    """The kubeconfig of somebody who has Kubernetes' own role `edit` in the two namespaces, and nothing else."""
    workers.kubectl("create", "serviceaccount", "deployer")
    for namespace in (workers, skypilot):
        account = f"--serviceaccount={workers.namespace}:deployer"
        namespace.kubectl("create", "rolebinding", "deployer", "--clusterrole=edit", account)
    config: dict[str, Any] = yaml.safe_load(workers.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": workers.kubectl("create", "token", "deployer", "--duration=3h").strip()}
    own = folder / "editor"
    own.touch(mode=0o600)
    own.write_text(json.dumps(config))
    return own


def _give_volumes(where: Kubernetes, claims: Sequence[str], project: Project) -> None:
    """Where the cluster makes none by itself, folders of the node that are the image's user's."""
    classes = json.loads(where.kubectl("get", "storageclasses", "--output", "json"))["items"]
    if any(one["metadata"].get("annotations", {}).get("storageclass.kubernetes.io/is-default-class") == "true" for one in classes):
        return
    for claim in claims:
        name = f"{where.namespace}-{claim}"
        # The controller deletes folders below /tmp.
        folder = {"path": f"/tmp/{name}", "type": "DirectoryOrCreate"}
        spec = {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": {"namespace": where.namespace, "name": claim},
            "hostPath": folder,
        }
        volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name, "labels": {_OURS: project.slug}}, "spec": spec}
        container = {
            "name": "chown",
            "image": "python:3.11-slim",
            "imagePullPolicy": "IfNotPresent",
            "command": ["chown", "10001:10001", "/volume"],
            "volumeMounts": [{"name": "volume", "mountPath": "/volume"}],
        }
        # Root, and a folder of the node: neither namespace admits such a pod.
        own_it = {"restartPolicy": "Never", "containers": [container], "volumes": [{"name": "volume", "hostPath": folder}]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": own_it}
        here = replace(where, namespace="default")
        here.kubectl("apply", "--filename", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": [volume, pod]}))
        try:
            here.kubectl("wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=120s", within=130)
        finally:
            here.kubectl("delete", f"pod/{name}", "--grace-period=0", "--force")


def _fill_in(project: Project, workers: Kubernetes, skypilot: Kubernetes) -> None:
    """The files of the environment, and an overlay over kind's that knows this cluster. Services come first, for their addresses."""
    own = project.manifests / "orchestrator"
    for name in ("worker.env", "secrets.env"):
        shutil.copy(own / f"{name}.example", own / name)
    manifests = rendered(project.manifests / "overlays" / "kind")
    for where in (workers, skypilot):
        own_ones = [one for one in manifests if one["metadata"].get("namespace") == where.namespace]
        where.kubectl("apply", "--filename", "-", given=yaml.safe_dump_all([one for one in own_ones if one["kind"] == "Service"]))
        claims = [one["metadata"]["name"] for one in own_ones if one["kind"] == "PersistentVolumeClaim"]
        _give_volumes(where, claims, project)
    address = _address(skypilot, "sky-api-server")
    variables = {"SKYPILOT_API_SERVER_ENDPOINT": f"http://{address}:46580", **worker_pods.variables(_address(workers, worker_pods.SERVER))}
    overlay = project.manifests / "overlays" / "e2e"
    overlay.mkdir()
    for path in worker_pods.PROBES:
        shutil.copy(project.root / path, overlay)
    (overlay / "images.csv").write_text(_images(os.environ.get("SKY_E2E_IMAGE")))
    config: dict[str, Any] = yaml.safe_load((project.manifests / "skypilot" / "config.yaml").read_text())
    # The node has two CPUs, of which a step asks for both.
    config["kubernetes"]["pod_config"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "500m", "memory": "1Gi"}}
    (overlay / "config.yaml").write_text(json.dumps(config))
    (overlay / "kustomization.yaml").write_text(json.dumps(_overlay(project, variables)))


def _overlay(project: Project, variables: Mapping[str, str]) -> dict[str, Any]:
    workers, skypilot = project.namespaces
    server = "/spec/template/spec"
    catalog = {
        "name": "catalog",
        "image": "sky-api-server",
        "command": ["sh", "-c", 'mkdir -p "$0" && cp /etc/skypilot/images.csv "$0"', _CATALOG],
        "volumeMounts": [{"name": "home", "mountPath": "/home/sky"}, {"name": "config", "mountPath": "/etc/skypilot"}],
    }
    small = {"op": "replace", "path": f"{server}/containers/0/resources/requests", "value": {"cpu": "10m", "memory": "256Mi"}}
    seeded = {"op": "add", "path": f"{server}/initContainers", "value": [catalog]}
    here = {
        "resources": ["../kind"],
        "configMapGenerator": [
            {"name": "sky-config", "namespace": skypilot, "behavior": "merge", "files": ["config.yaml", "images.csv"]},
            {"name": "worker", "namespace": workers, "behavior": "merge", "literals": [f"{k}={v}" for k, v in variables.items()]},
        ],
        "patches": [
            {"target": {"kind": "Deployment"}, "patch": json.dumps([small])},
            {"target": {"kind": "Deployment", "name": "sky-api-server"}, "patch": json.dumps([seeded])},
        ],
    }
    return _with_probes(here, workers) if worker_pods.PROBES else here


def _with_probes(overlay: dict[str, Any], namespace: str) -> dict[str, Any]:
    """What the tests have the worker run, where its image would have it."""
    files = {"name": "probes", "namespace": namespace, "files": [Path(path).name for path in worker_pods.PROBES]}
    where = "/spec/template/spec"
    mounted = [
        {"op": "add", "path": f"{where}/volumes/-", "value": {"name": "probes", "configMap": {"name": "probes"}}},
        {"op": "add", "path": f"{where}/containers/0/volumeMounts/-", "value": {"name": "probes", "mountPath": "/app/tests/e2e"}},
    ]
    patch = {"target": {"kind": "Deployment", "name": worker_pods.WORKER}, "patch": json.dumps(mounted)}
    generators, patches = overlay["configMapGenerator"], overlay["patches"]
    return {**overlay, "configMapGenerator": [*generators, files], "patches": [*patches, patch]}


def _images(image: str | None) -> str:
    """SkyPilot asks the internet what its own images are called, unless its catalog has them."""
    rows = [f"skypilot:custom-{kind}-ubuntu-2204-v1,,{image}" for kind in ("cpu", "gpu")] if image else []
    return "\n".join(["Tag,Region,ImageId", *rows]) + "\n"


def _address(where: Kubernetes, service: str) -> str:
    return where.kubectl("get", "service", service, "--output", "jsonpath={.spec.clusterIP}")
