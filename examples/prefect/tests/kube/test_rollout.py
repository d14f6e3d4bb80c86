"""How far a deployment is, in words, and when waiting for it does not help."""

from __future__ import annotations

from typing import Any

import pytest

from kube import rollout
from kube.commands import KubeError


def deployment(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "worker", "namespace": "sky", "generation": 2}, "spec": {"replicas": 1}, "status": status}


def pod(phase: str = "Pending", *, waiting: str = "", unscheduled: str = "", restarts: int = 0) -> dict[str, Any]:
    state = {"waiting": {"reason": waiting}} if waiting else {"running": {}}
    conditions = [{"type": "PodScheduled", "status": "False", "message": unscheduled}] if unscheduled else []
    containers = [] if unscheduled else [{"image": "r.example.com/x:1", "state": state, "restartCount": restarts}]
    return {"metadata": {"name": "worker-1"}, "status": {"phase": phase, "conditions": conditions, "containerStatuses": containers}}


READY = {"observedGeneration": 2, "updatedReplicas": 1, "readyReplicas": 1, "replicas": 1}
STATES = [
    pytest.param(READY, [], "ready", id="all pods are ready"),
    pytest.param({**READY, "observedGeneration": 1}, [], "its pods are being made", id="what is ready is the one before"),
    pytest.param({**READY, "replicas": 2}, [pod("Running")], "its pod has started, and is not ready yet", id="the one before still stands"),
    pytest.param({}, [pod(unscheduled="0/1 nodes: too little cpu")], "no node takes its pod yet: 0/1 nodes: too little cpu", id="no node"),
    pytest.param({}, [pod(waiting="ContainerCreating")], "its pod waits: ContainerCreating", id="the image is being pulled"),
    pytest.param({}, [], "its pods are being made", id="nothing is there yet"),
    pytest.param({}, [pod(waiting="CrashLoopBackOff", restarts=4)], "its pod waits: CrashLoopBackOff", id="what it asks is not up yet"),
]


@pytest.mark.parametrize(("status", "pods", "words"), STATES)
def test_how_far_it_is_is_said_in_words(status: dict[str, Any], pods: list[dict[str, Any]], words: str) -> None:
    assert rollout.progress(deployment(**status), pods) == words


HOPELESS = [
    pytest.param("ImagePullBackOff", "cannot pull the image", id="no such image"),
    pytest.param("ErrImageNeverPull", "was it copied there", id="an image that was not copied"),
    pytest.param("CreateContainerConfigError", "a ConfigMap or Secret is missing", id="no such Secret"),
    pytest.param("CrashLoopBackOff", "kubectl -n sky logs worker-1 --previous", id="it ends again and again"),
]


@pytest.mark.parametrize(("reason", "cure"), HOPELESS)
def test_what_waiting_does_not_mend_is_told_at_once_with_its_cure(reason: str, cure: str) -> None:
    with pytest.raises(KubeError, match=f"worker: {reason} of r.example.com/x:1; .*{cure}"):
        rollout.progress(deployment(), [pod(waiting=reason, restarts=5)])


def test_pods_that_the_namespace_does_not_admit_are_told_in_its_words() -> None:
    refused = {"type": "ReplicaFailure", "message": 'pods "worker-1" is forbidden: violates PodSecurity "restricted:latest"'}
    with pytest.raises(KubeError, match=r"violates PodSecurity.*the namespace sky does not admit its pods"):
        rollout.progress(deployment(observedGeneration=2, conditions=[refused]), [])


def test_what_to_open_is_a_command_for_each_service() -> None:
    service = {
        "kind": "Service",
        "metadata": {"name": "ui", "namespace": "sky"},
        "spec": {"ports": [{"name": "http", "port": 4200}]},
    }
    told = rollout.what_to_open([service, {"kind": "ConfigMap", "metadata": {"name": "c"}}]).splitlines()
    assert told[-1].strip() == "kubectl -n sky port-forward service/ui 4200   # http://127.0.0.1:4200"
    assert rollout.what_to_open([]) == "All of it runs."
