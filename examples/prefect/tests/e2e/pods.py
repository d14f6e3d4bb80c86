"""A SkyPilot of our own on the Kubernetes that kubeconfig names, seen from outside by kubectl and by the server's refreshed status.

It has a namespace for itself, so whatever stands in there is ours, and all of it goes with the namespace.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from local import lifecycle, login, machine, place, ports, server
from tests.e2e.processes import PATIENCE, until

# How a pod reaches packages, where this machine is told so by its environment.
_PASSED = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_S3_IMAGE = "python:3.11-slim"
# Images that the node has are not asked for again, and a pod may wait for the one before it to free the node.
_CONFIG = {
    "allowed_clouds": ["kubernetes"],
    "kubernetes": {"provision_timeout": 600, "pod_config": {"spec": {"containers": [{"imagePullPolicy": "IfNotPresent"}]}}},
}


@dataclass(frozen=True)
class Kubernetes:
    """A namespace: `kubeconfig` is a copy of the caller's current context. `selector` tells SkyPilot's things from others in it."""

    kubeconfig: Path
    namespace: str
    selector: str = "app!=s3"

    def kubectl(self, *arguments: str, given: str | None = None, within: float = 120) -> str:
        command = ["kubectl", "--kubeconfig", str(self.kubeconfig), "--namespace", self.namespace, *arguments]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=within * PATIENCE)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def standing(self) -> list[str]:
        """The pods, services and secrets of SkyPilot, such as pod/NAME."""
        return self.kubectl("get", "pods,services,secrets", "--selector", self.selector, "--output", "name").split()


@dataclass(frozen=True)
class Pods:
    """The API server's clusters, which are pods. A job is told by its task's name, which is part of its cluster's."""

    kubernetes: Kubernetes
    endpoint: str

    def answers(self) -> bool:
        """A port-forward notices only when it is asked that its pod is another one."""
        try:
            with urlopen(f"{self.endpoint}/api/health", timeout=10) as answer:
                return answer.status == 200
        except OSError:
            return False

    def clusters(self, *, refresh: bool = False) -> list[str]:
        from sky.utils.common import StatusRefreshMode

        sky = self._sky()
        rows: Any = sky.get(sky.status(refresh=StatusRefreshMode.FORCE if refresh else StatusRefreshMode.NONE, all_users=True))
        return [row["name"] for row in rows]

    def submissions(self, part: str) -> int:
        """How many launch and exec requests there have been for clusters with `part` in their name, whatever became of them."""
        return sum(name in ("sky.launch", "sky.exec") for name in self._requests(part))

    def jobs(self, part: str) -> list[int]:
        """The ids of all jobs that its cluster ever had."""
        sky = self._sky()
        (cluster,) = [name for name in self.clusters() if part in name]
        rows: Any = sky.get(sky.queue(cluster, all_users=True))
        return sorted(row["job_id"] for row in rows)

    def asked_down(self, part: str) -> bool:
        return "sky.down" in self._requests(part)

    def assert_nothing_left(self) -> None:
        until("no pod, no service and no secret is left", lambda: not self.kubernetes.standing(), within=90, every=2)
        assert self.clusters(refresh=True) == []

    def _requests(self, part: str) -> list[str]:
        rows = self._sky().api_status(all_status=True, limit=1000, fields=["request_id", "name", "status", "cluster_name"])
        return [row.name for row in rows if part in (row.cluster_name or "")]

    def _sky(self) -> Any:
        import sky
        from sky.server.common import get_server_url

        asked = get_server_url()
        assert asked == self.endpoint, f"this process's SDK keeps to {asked}: run tests/e2e/deployed and the others in one of their own"
        return sky


@dataclass(frozen=True)
class PodJob:
    """A small task whose name no other test has."""

    skypilot: Pods
    name: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:8]}")
    # Until `end` is called, or ten minutes have passed.
    wait: str = "for i in $(seq 600); do [ ! -e /tmp/end ] || exit 0; echo waiting; sleep 1; done"

    def yaml(self, run: str) -> str:
        resources = {"infra": "k8s", "cpus": 1, "memory": 1}
        return json.dumps({"name": self.name, "resources": resources, "run": run})

    @property
    def pods(self) -> list[str]:
        return [name for name in self.skypilot.kubernetes.standing() if name.startswith("pod/") and self.name in name]

    def end(self) -> None:
        self.skypilot.kubernetes.kubectl("exec", *self.pods, "--", "touch", "/tmp/end")


@dataclass(frozen=True)
class S3:
    """An S3 server in a pod, whose address pods reach; there need not be a cluster DNS."""

    kubernetes: Kubernetes
    endpoint: str

    def names(self, bucket: str) -> list[str]:
        """What lies in the bucket."""
        return self._run(f"print('\\n'.join(o['Key'] for o in s3.list_objects_v2(Bucket='{bucket}').get('Contents', [])))").split()

    def make(self, bucket: str) -> None:
        self._run(f"s3.create_bucket(Bucket='{bucket}')")

    def _run(self, code: str) -> str:
        store = "s3 = boto3.client('s3', endpoint_url='http://127.0.0.1:5000', region_name='us-east-1', **keys)"
        keys = "keys = {'aws_access_key_id': 'x', 'aws_secret_access_key': 'x'}"
        return self.kubernetes.kubectl("exec", "s3", "--", "python", "-c", f"import boto3; {keys}; {store}; {code}")


@contextmanager
def namespace(folder: Path) -> Iterator[Kubernetes]:
    """A namespace of the current context, removed with everything in it."""
    name = f"sky-e2e-{uuid.uuid4().hex[:8]}"
    kubeconfig = folder / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(_kubectl("config", "view", "--raw", "--minify", "--flatten"))
    here = Kubernetes(kubeconfig, name)
    here.kubectl("config", "set-context", "--current", f"--namespace={name}")
    here.kubectl("create", "namespace", name)
    try:
        yield here
    finally:
        here.kubectl("delete", "namespace", name, "--wait", "--timeout=120s", within=150)


@contextmanager
def api_server(kubernetes: Kubernetes, project: Path) -> Iterator[str]:
    """SkyPilot's API server, from the environment of the project's local one, with a home and a port of its own."""
    with tempfile.TemporaryDirectory(prefix="sky-") as folder:
        own, built = place.find_place(Path(folder)), place.find_place(project)
        uv = machine.find_uv(built)
        with place.locked(project):
            built.make_folders()
            server.build(built, uv)
        own.make_folders()
        own.venv.symlink_to(built.venv)
        server.configure(own)
        server.pack_wheel(own)
        (own.home / ".sky" / "config.yaml").write_text(json.dumps(_CONFIG))
        _use_image(own, os.environ.get("SKY_E2E_IMAGE"))
        environment = login.environment(own, uv)
        port = ports.choose(["api"], {})["api"]
        reach = {"KUBECONFIG": str(kubernetes.kubeconfig), "PATH": f"{environment['PATH']}:{os.environ['PATH']}"}
        try:
            server.start(own, port, {**environment, **reach})
            server.wait(own, port, 300 * PATIENCE)
            yield f"http://127.0.0.1:{port}"
        finally:
            lifecycle.down(Path(folder))


@contextmanager
def s3_server(kubernetes: Kubernetes) -> Iterator[S3]:
    """moto's server, as this environment has it, in a pod with a bucket named `data`."""
    kubernetes.kubectl("apply", "--filename", "-", given=json.dumps(_s3_objects()))
    kubernetes.kubectl("wait", "pod/s3", "--for=condition=Ready", "--timeout=300s", within=310)
    address = kubernetes.kubectl("get", "service", "s3", "--output", "jsonpath={.spec.clusterIP}")
    s3 = S3(kubernetes, f"http://{address}:5000")
    s3.make("data")
    yield s3


def _kubectl(*arguments: str) -> str:
    return subprocess.run(["kubectl", *arguments], check=True, capture_output=True, text=True, timeout=60).stdout


def _use_image(own: place.Place, image: str | None) -> None:
    """SkyPilot asks the internet what its own images are called, unless its catalog has them."""
    if image:
        catalog = own.home / ".sky" / "catalogs" / "v8" / "kubernetes" / "images.csv"
        catalog.parent.mkdir(parents=True)
        rows = [f"skypilot:custom-{kind}-ubuntu-2204-v1,,{image}" for kind in ("cpu", "gpu")]
        catalog.write_text("\n".join(["Tag,Region,ImageId", *rows]) + "\n")


def _s3_objects() -> Mapping[str, Any]:
    label = {"app": "s3"}
    container = {
        "name": "s3",
        "image": _S3_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", f"pip install -q 'moto[s3]=={version('moto')}' flask flask-cors && exec moto_server -H 0.0.0.0 -p 5000"],
        "env": [{"name": name, "value": os.environ[name]} for name in _PASSED if os.environ.get(name)],
        "readinessProbe": {"tcpSocket": {"port": 5000}, "periodSeconds": 2},
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "s3", "labels": label}}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s3", "labels": label}}
    ports_ = [{"port": 5000, "targetPort": 5000}]
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
    return {"apiVersion": "v1", "kind": "List", "items": [{**pod, "spec": spec}, {**service, "spec": {"selector": label, "ports": ports_}}]}
