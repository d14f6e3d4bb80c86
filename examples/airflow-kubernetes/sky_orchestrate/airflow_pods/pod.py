"""What a task's pod is: the project's image, no right in Kubernetes, no way to more, and secrets by their names alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from kubernetes.client import models as k8s

from sky_orchestrate.settings import project_name

# The environment of Airflow's own processes: what the pods run, and where.
IMAGE, NAMESPACE = "SKY_ORCHESTRATE_IMAGE", "SKY_ORCHESTRATE_NAMESPACE"
# The ConfigMap with the project's settings, and the Secret with what may not be shown. `make deploy` makes both.
SETTINGS, SECRET = "worker", "worker"  # their names
SECRETS = ("SKYPILOT_SERVICE_ACCOUNT_TOKEN", "GIT_TOKEN")
USER, HOME = 10001, "/home/worker"
BASE = "base"


def task_pod() -> dict[str, Any]:
    """KubernetesPodOperator's arguments, and so @task.kubernetes', for a pod under restricted pod security that reaches SkyPilot."""
    return {
        "image": os.environ.get(IMAGE) or f"{project_name()}:latest",
        "image_pull_policy": "IfNotPresent",
        "namespace": os.environ.get(NAMESPACE) or None,
        "in_cluster": in_cluster(),
        "labels": {"app.kubernetes.io/name": "sky-task", "app.kubernetes.io/part-of": project_name()},
        "automount_service_account_token": False,
        "security_context": k8s.V1PodSecurityContext(
            run_as_non_root=True,
            run_as_user=USER,
            run_as_group=USER,
            fs_group=USER,
            seccomp_profile=k8s.V1SeccompProfile(type="RuntimeDefault"),
        ),
        "container_security_context": confined(),
        "xcom_sidecar_container_security_context": confined(),
        # It waits nearly all of its time.
        "container_resources": k8s.V1ResourceRequirements(requests={"cpu": "50m", "memory": "512Mi"}, limits={"memory": "1Gi"}),
        "env_vars": [k8s.V1EnvVar(name="HOME", value=HOME), *(from_secret(name, SECRET, optional=True) for name in SECRETS)],
        "env_from": [k8s.V1EnvFromSource(config_map_ref=k8s.V1ConfigMapEnvSource(name=SETTINGS, optional=True))],
        "volumes": [k8s.V1Volume(name=name, empty_dir=k8s.V1EmptyDirVolumeSource()) for name in ("home", "tmp")],
        "volume_mounts": [k8s.V1VolumeMount(name="home", mount_path=HOME), k8s.V1VolumeMount(name="tmp", mount_path="/tmp")],
        "startup_timeout_seconds": 600,
        "on_finish_action": "delete_pod",
        "log_pod_spec_on_failure": False,
        "log_events_on_failure": True,
    }


def confined() -> k8s.V1SecurityContext:
    return k8s.V1SecurityContext(
        allow_privilege_escalation=False, read_only_root_filesystem=True, capabilities=k8s.V1Capabilities(drop=["ALL"])
    )


def from_secret(name: str, secret: str, *, key: str = "", optional: bool = False) -> k8s.V1EnvVar:
    """A variable whose value Kubernetes puts in when the pod starts; neither Airflow nor the pod's spec knows it."""
    selector = k8s.V1SecretKeySelector(name=secret, key=key or name, optional=optional or None)
    return k8s.V1EnvVar(name=name, value_from=k8s.V1EnvVarSource(secret_key_ref=selector))


def secret_variables(secrets: Mapping[str, str]) -> list[k8s.V1EnvVar]:
    """`secrets` are SECRET/KEY by the task's names for them."""
    found: list[k8s.V1EnvVar] = []
    for name, place in secrets.items():
        secret, given, key = place.partition("/")
        if not (secret and given and key):
            raise ValueError(f"task_secrets: {name} would be right as the name of a Kubernetes Secret and its key, such as team-tokens/hf")
        found.append(from_secret(name, secret, key=key))
    return found


def in_cluster() -> bool | None:
    """True in a pod with a service account. Elsewhere kubeconfig, or the connection kubernetes_default, says where Kubernetes is."""
    return True if os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token") and not os.environ.get("KUBECONFIG") else None
