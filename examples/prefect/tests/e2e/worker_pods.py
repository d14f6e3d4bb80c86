"""Prefect's server and worker as the manifests run them, and flow runs through them.

Every flavour whose worker runs on Kubernetes has such a module, with the names that the tests of all of them use.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.client.orchestration import SyncPrefectClient

from tests.e2e.orchestra import Orchestra, Run
from tests.e2e.processes import Household, until

if TYPE_CHECKING:
    from tests.e2e.deployed.deployment import Deployed

SERVER, PORT, WORKER = "prefect-server", 4200, "prefect-worker"
# Flows of the tests, which the image has not.
PROBES = ("tests/e2e/prefect_probe_flows.py",)
IN_IMAGE: Mapping[str, str] = {}
_RESULT = """\
import json, sys
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    result = client.read_flow_run(sys.argv[1]).state.result()
print(json.dumps(result, default=vars))
"""


def variables(address: str) -> Mapping[str, str]:
    """Of the worker: where its server is."""
    return {"PREFECT_API_URL": f"http://{address}:{PORT}/api", "PREFECT_WORKER_QUERY_SECONDS": "2"}


@dataclass
class PodRun(Run):
    deployed: Deployed = field(kw_only=True)

    @property
    def result(self) -> Any:
        """The worker's pod has it in its storage."""
        where = self.deployed.workers
        told = where.kubectl("exec", f"deployment/{WORKER}", "--", "python", "-c", _RESULT, str(self.id))
        return json.loads(told.splitlines()[-1])


@dataclass
class PodOrchestra(Orchestra):
    """The worker is a deployment's pod: another one comes by itself."""

    deployed: Deployed = field(kw_only=True)

    def submit(self, flow: str, parameters: Mapping[str, Any], *, environ: Mapping[str, str] | None = None) -> Run:
        run = super().submit(flow, parameters, environ=environ)
        self.runs[-1] = PodRun(run.id, run.api, run.storage, deployed=self.deployed)
        return self.runs[-1]

    def keep_a_worker(self) -> None:
        self.deployed.until_ready(self.deployed.workers, WORKER)

    def start_worker(self, *, home: Path | None = None) -> None:
        self.keep_a_worker()

    def kill_worker(self) -> None:
        self.deployed.kill(self.deployed.workers, WORKER)


@contextmanager
def serve(deployed: Deployed, household: Household, port: int) -> Iterator[PodOrchestra]:
    """`port` of this machine leads to the server."""
    url = f"http://127.0.0.1:{port}/api"
    household.environ.update(PREFECT_API_URL=url, PREFECT_HOME=str(household.folder / "prefect"), SKY_WORKER_DIR="/app")
    with SyncPrefectClient(url) as api:
        until("the Prefect server answers", lambda: api.api_healthcheck() is None, within=90)
        orchestra = PodOrchestra(household, url, deployed.project.slug, api, deployed=deployed)
        orchestra.deploy()
        yield orchestra
