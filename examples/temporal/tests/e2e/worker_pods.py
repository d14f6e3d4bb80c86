"""Temporal's server and worker as the manifests run them, and workflow runs through them.

Every flavour whose worker runs on Kubernetes has such a module, with the names that the tests of all of them use.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil
from temporalio.client import Client

from tests.e2e.orchestra import Orchestra
from tests.e2e.processes import Household, until

if TYPE_CHECKING:
    from tests.e2e.deployed.deployment import Deployed

SERVER, PORT, WORKER = "temporal-server", 7233, "temporal-worker"
# The image has all workflows there are.
PROBES: tuple[str, ...] = ()
IN_IMAGE: Mapping[str, str] = {}


def variables(address: str) -> Mapping[str, str]:
    """Of the worker: where its server is."""
    return {"TEMPORAL_ADDRESS": f"{address}:{PORT}"}


@dataclass
class PodOrchestra(Orchestra):
    """The worker is a deployment's pod: another one comes by itself. Its log is that of all its pods, one after the other."""

    deployed: Deployed = field(kw_only=True)
    _followed: set[str] = field(default_factory=set)

    def keep_secret(self, name: str, value: str) -> None:
        """In the Secret of the worker, which starts anew with it."""
        where = self.deployed.workers
        if self._secrets.get(name) == value:
            return
        self._secrets[name] = value
        (secret,) = [one for one in where.kubectl("get", "secrets", "--output", "name").split() if one.startswith("secret/worker-")]
        where.kubectl("patch", secret, "--patch", json.dumps({"stringData": {name: value}}))
        where.kubectl("rollout", "restart", f"deployment/{WORKER}")
        self.keep_a_worker()

    def keep_a_worker(self, environ: Mapping[str, str] | None = None) -> None:
        self.deployed.until_ready(self.deployed.workers, WORKER)
        pod = self.deployed.pod_of(self.deployed.workers, WORKER)
        if pod not in self._followed:
            self._followed.add(pod)
            where = self.deployed.workers
            command = ("--kubeconfig", str(where.kubeconfig), "--namespace", where.namespace, "logs", "--follow", f"pod/{pod}")
            self.worker = self.household.start(*command, log="worker", program="kubectl")

    def start_worker(self, **_: object) -> psutil.Process:
        self.keep_a_worker()
        assert self.worker is not None
        return self.worker

    def kill_worker(self) -> None:
        self.deployed.kill(self.deployed.workers, WORKER)


@contextmanager
def serve(deployed: Deployed, household: Household, port: int) -> Iterator[PodOrchestra]:
    """`port` of this machine leads to the server."""
    address = f"127.0.0.1:{port}"
    household.environ["TEMPORAL_ADDRESS"] = address
    loop = asyncio.new_event_loop()

    async def lazily() -> Client:
        return await Client.connect(address, lazy=True)

    orchestra = PodOrchestra(household, address, loop, loop.run_until_complete(lazily()), "", deployed=deployed)
    until("Temporal answers", orchestra.answers, within=60)
    yield orchestra
    loop.close()
