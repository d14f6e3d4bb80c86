"""One deployment for the session: SkyPilot's API server and the orchestrator's server and worker, all in the cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import ROOT
from tests.e2e import pods, worker_pods
from tests.e2e.deployed.deployment import Deployed, forwarded
from tests.e2e.deployed.deployment import deployed as deploy
from tests.e2e.orchestra import Orchestra
from tests.e2e.pods import S3, PodJob, Pods
from tests.e2e.processes import Household, keep_house


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with deploy(tmp_path_factory.mktemp("deployed"), ROOT) as deployed:
        yield deployed


@pytest.fixture(scope="session")
def skypilot(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    """The API server in the cluster, as this machine reaches it."""
    with forwarded(deployed.skypilot, "sky-api-server", 46580) as port, pytest.MonkeyPatch.context() as patch:
        # SkyPilot's SDK writes to the home folder; the caller's is not ours.
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("SKYPILOT_API_SERVER_ENDPOINT", f"http://127.0.0.1:{port}")
        patch.setenv("SKYPILOT_DISABLE_LOCAL_API_SERVER", "1")
        yield Pods(deployed.skypilot, f"http://127.0.0.1:{port}")


@pytest.fixture(scope="session")
def household(skypilot: Pods, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    with keep_house(ROOT, tmp_path_factory.mktemp("e2e"), SKYPILOT_API_SERVER_ENDPOINT=skypilot.endpoint) as household:
        yield household


@pytest.fixture(scope="session")
def served(deployed: Deployed, household: Household) -> Iterator[Orchestra]:
    with (
        forwarded(deployed.workers, worker_pods.SERVER, worker_pods.PORT) as port,
        worker_pods.serve(deployed, household, port) as orchestra,
    ):
        yield orchestra


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with pods.namespace(tmp_path_factory.mktemp("s3")) as namespace, pods.s3_server(namespace) as s3:
        yield s3


@pytest.fixture
def job(skypilot: Pods) -> PodJob:
    return PodJob(skypilot)
