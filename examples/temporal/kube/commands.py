"""kubectl, docker and kind as they are installed: each failure is one line, with what to do about it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

_WHERE = {
    "kubectl": "https://kubernetes.io/docs/tasks/tools",
    "docker": "https://docs.docker.com/get-docker",
    "kind": "https://kind.sigs.k8s.io/docs/user/quick-start",
}


class KubeError(Exception):
    """What went wrong and what to do about it, in one line."""


def need(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            raise KubeError(f"{tool} is not installed; see {_WHERE[tool]}")
    if "docker" in tools and _run("docker", "version").returncode != 0:
        raise KubeError("Docker does not answer; start it (Docker Desktop, or: sudo systemctl start docker), and look with: docker version")


def ask(*command: str, cure: str = "", given: str | None = None) -> str:
    """What `command` prints. Raises KubeError with its last line and the cure."""
    done = _run(*command, given=given)
    if done.returncode != 0:
        raise KubeError(f"{' '.join(command[:3])}: {last_line(done.stderr or done.stdout)}" + (f"; {cure}" if cure else ""))
    return done.stdout


def show(*command: str, cure: str, cwd: Path | None = None) -> None:
    """`command` with its own output, for what takes minutes."""
    if subprocess.run(command, cwd=cwd, check=False).returncode != 0:
        raise KubeError(f"{' '.join(command[:3])} failed, for the reason above; {cure}")


def look(*command: str) -> dict[str, Any] | None:
    """The JSON that kubectl gets, or nothing where there is no such thing."""
    done = _run("kubectl", "get", *command, "--output", "json", "--ignore-not-found")
    if done.returncode != 0:
        raise KubeError(f"kubectl get {command[0]}: {last_line(done.stderr)}")
    return json.loads(done.stdout) if done.stdout.strip() else None


def reachable() -> str:
    """The name of kubectl's context, whose cluster answers."""
    if _run("kubectl", "config", "view", "--minify").returncode != 0:
        raise KubeError("kubectl has no current context; name one: kubectl config use-context NAME, or make a cluster here: make kind-up")
    context = _run("kubectl", "config", "current-context").stdout.strip()
    answer = _run("kubectl", "version", "--request-timeout=15s")
    if answer.returncode != 0:
        said = last_line(answer.stderr)
        raise KubeError(f"the cluster of the context {context} does not answer ({said}); is it up, and are you logged in?")
    return context


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def _run(*command: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=given, capture_output=True, text=True, check=False)
