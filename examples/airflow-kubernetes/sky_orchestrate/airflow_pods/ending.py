"""How a task's pod comes to its end: the user's cancel on its way into it, and what its exit says to Airflow."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow.providers.cncf.kubernetes.utils.pod_manager import detect_pod_terminate_early_issues, get_container_status
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import stream

from sky_orchestrate.airflow_pods.pod import BASE
from sky_orchestrate.invocation import ExitCode
from sky_orchestrate.result import Pace

# As long as a teardown may take, and a little for the last words.
GRACE = int(Pace().teardown) + 60
# KubernetesPodOperator leaves pods with this label alone: no later attempt attaches to one that is on its way out.
_CHECKED = {"metadata": {"labels": {"already_checked": "True"}}}
# SIGINT, which is the user's Ctrl-C to the command, once: a second one would stop the teardown.
_INTERRUPT = ["sh", "-c", "mkdir /tmp/interrupted 2>/dev/null && kill -INT 1 || true"]
_UNABLE = "Image cannot be pulled, unable to start: "

log = logging.getLogger(__name__)


def interrupt(client: Any, name: str, namespace: str) -> bool:
    """Have the command in the pod take its cluster down. False where it does not run."""
    try:
        client.patch_namespaced_pod(name=name, namespace=namespace, body=_CHECKED)
        call = client.connect_get_namespaced_pod_exec
        stream(call, name, namespace, container=BASE, command=_INTERRUPT, stdin=False, stdout=True, stderr=True, tty=False)
    except ApiException as error:
        log.info("nothing runs in pod %s (%s)", name, error.reason)
        return False
    return True


def cancel(client: Any, name: str, namespace: str) -> None:
    """The user's cancel: the cluster goes down, then the pod ends, and nobody has to wait for either.

    Deleting a pod sends SIGTERM, which cuts short no teardown that SIGINT began.
    """
    log.info("cancelled: pod %s takes its cluster down and ends", name)
    interrupt(client, name, namespace)
    try:
        client.delete_namespaced_pod(name=name, namespace=namespace, grace_period_seconds=GRACE)
    except ApiException as error:
        if error.status != 404:
            raise


@dataclass(frozen=True)
class Failure:
    """Why a task's pod failed, in one line, and whether another attempt can help."""

    says: str
    retryable: bool = True


_BY_EXIT_CODE: Mapping[int, Failure] = {
    ExitCode.WRONG_INPUT: Failure("wrong input, which the task's log names; no retry mends it", retryable=False),
    ExitCode.LEFT_RUNNING: Failure("a cluster could not be shown to be gone, and may still cost money; the task's log names it"),
    ExitCode.CANCELLED: Failure("cancelled by its user, and its cluster is down", retryable=False),
    ExitCode.STOPPED: Failure("the pod was told to end: its cluster stays, and the next attempt attaches"),
    137: Failure("the pod was killed: its cluster stays, and the next attempt attaches"),
}


def failure(pod: Any, otherwise: str) -> Failure:
    """What the pod tells of its end, the most exact first; `otherwise` is what Airflow makes of it."""
    if pod is None or pod.status is None:
        return Failure(otherwise)
    unable = detect_pod_terminate_early_issues(pod)
    if unable:
        image = next((one.image for one in pod.spec.containers if one.name == BASE), "")
        return Failure(f"the image {image} cannot be pulled: {' '.join(unable.removeprefix(_UNABLE).split())[:300]}")
    status = get_container_status(pod, BASE)
    ended = status.state.terminated if status and status.state else None
    if ended is None:
        evicted = f"{pod.status.reason}: {pod.status.message}" if pod.status.reason else otherwise
        return Failure(evicted)
    if ended.reason == "OOMKilled":
        return Failure("the pod ran out of its memory limit; give it more by container_resources")
    return _told(ended.message) or _BY_EXIT_CODE.get(ended.exit_code) or Failure(_last_line(ended.message) or otherwise)


def _told(message: str | None) -> Failure | None:
    """What `--error` wrote, if anything."""
    try:
        told = json.loads(message or "")
        return Failure(str(told["error"]), bool(told["retryable"]))
    except (ValueError, TypeError, KeyError):
        return None


def _last_line(message: str | None) -> str:
    return next((line for line in reversed((message or "").splitlines()) if line.strip()), "").removeprefix("error: ")
