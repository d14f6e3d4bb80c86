"""Waiting until what was applied runs, telling how far it is, and why it does not where it cannot."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from kube.commands import KubeError, look

# Reasons that waiting does not mend, and what does.
_HOPELESS = {
    "ErrImageNeverPull": "the node does not have the image; was it copied there?",
    "ImagePullBackOff": "the node cannot pull the image; is its name right, and may the node read the registry?",
    "ErrImagePull": "the node cannot pull the image; is its name right, and may the node read the registry?",
    "InvalidImageName": "correct the image's name",
    "CreateContainerConfigError": "a ConfigMap or Secret is missing or lacks a key",
    "CrashLoopBackOff": "its log says why",
}
# A worker ends where the server that it asks is not up yet, as on a first day; it comes back within a minute and a half so often.
_PATIENT_RESTARTS = 4


def wait(deployments: Sequence[tuple[str, str]], *, within: float, every: float = 2) -> None:
    """Until each of these (namespace, name) has all its pods ready."""
    give_up = time.monotonic() + within
    told: dict[str, str] = {}
    waiting = list(deployments)
    while waiting:
        for namespace, name in list(waiting):
            state = progress(*_seen(namespace, name))
            if told.get(name) != state:
                told[name] = state
                print(f"{name}: {state}", flush=True)
            if state == "ready":
                waiting.remove((namespace, name))
        if waiting and time.monotonic() > give_up:
            namespace, name = waiting[0]
            raise KubeError(f"{name} is not ready after {within:.0f} s ({told[name]}); see: kubectl -n {namespace} describe pods")
        if waiting:
            time.sleep(every)


def progress(deployment: dict[str, Any], pods: Sequence[dict[str, Any]]) -> str:
    """`ready`, or what is waited for. Raises KubeError where waiting does not help."""
    name, namespace = deployment["metadata"]["name"], deployment["metadata"]["namespace"]
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    if seen and wanted == status.get("updatedReplicas", 0) == status.get("readyReplicas", 0) == status.get("replicas", 0):
        return "ready"
    refused = [condition["message"] for condition in status.get("conditions", []) if condition["type"] == "ReplicaFailure"]
    if seen and refused:
        raise KubeError(f"{name}: {refused[0]}; the namespace {namespace} does not admit its pods")
    for pod in pods:
        for container in pod["status"].get("containerStatuses", []):
            stuck = container["state"].get("waiting", {})
            comes_back = stuck.get("reason") == "CrashLoopBackOff" and container.get("restartCount", 0) <= _PATIENT_RESTARTS
            if stuck.get("reason") in _HOPELESS and not comes_back:
                look_here = f"kubectl -n {namespace} logs {pod['metadata']['name']} --previous"
                said = f" ({look_here})" if stuck["reason"] == "CrashLoopBackOff" else ""
                raise KubeError(f"{name}: {stuck['reason']} of {container['image']}; {_HOPELESS[stuck['reason']]}{said}")
    return next((words for pod in pods if (words := _waits_for(pod))), "its pods are being made")


def what_to_open(manifests: Sequence[dict[str, Any]]) -> str:
    """A line for each service: how it is reached from here."""
    services = [manifest for manifest in manifests if manifest["kind"] == "Service"]
    lines = [f"  kubectl -n {_namespace(one)} port-forward service/{_name(one)} {_port(one)}   # {_told(one)}" for one in services]
    return "\n".join(["All of it runs.", *(["To reach it from here:", *lines] if lines else [])])


def _told(service: dict[str, Any]) -> str:
    port = _port(service)
    if service["spec"]["ports"][0].get("name") in ("http", "api"):
        return f"http://127.0.0.1:{port}"
    return f"127.0.0.1:{port}"


def _waits_for(pod: dict[str, Any]) -> str:
    status = pod["status"]
    unscheduled = [c for c in status.get("conditions", []) if c["type"] == "PodScheduled" and c["status"] == "False"]
    if unscheduled:
        return f"no node takes its pod yet: {unscheduled[0].get('message', '')}"
    waiting = [c["state"]["waiting"].get("reason", "") for c in status.get("containerStatuses", []) if "waiting" in c["state"]]
    if waiting:
        return f"its pod waits: {waiting[0]}"
    return "its pod has started, and is not ready yet" if status.get("phase") == "Running" else ""


def _seen(namespace: str, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    deployment = look("deployment", name, "--namespace", namespace)
    if deployment is None:
        raise KubeError(f"the deployment {name} is gone from {namespace}; somebody deleted it meanwhile")
    labels = deployment["spec"]["selector"]["matchLabels"]
    pods = look("pods", "--namespace", namespace, "--selector", ",".join(f"{key}={value}" for key, value in labels.items())) or {}
    return deployment, [pod for pod in pods.get("items", []) if "deletionTimestamp" not in pod["metadata"]]


def _namespace(manifest: dict[str, Any]) -> str:
    return str(manifest["metadata"]["namespace"])


def _name(manifest: dict[str, Any]) -> str:
    return str(manifest["metadata"]["name"])


def _port(service: dict[str, Any]) -> int:
    return int(service["spec"]["ports"][0]["port"])
