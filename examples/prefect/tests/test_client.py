"""The client on a stand-in for SkyPilot's SDK: what the server in memory cannot show."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sky_orchestrate import client as client_module
from sky_orchestrate import errors
from sky_orchestrate.client import Client
from sky_orchestrate.settings import Settings


class RequestCancelled(Exception):
    """As sky.exceptions has it."""


class ClusterDoesNotExist(Exception):
    """As sky.exceptions has it."""


def client_whose_log_ends_in(error: Exception, monkeypatch: pytest.MonkeyPatch) -> Client:
    def tail_logs(*_: object, **__: object) -> int:
        raise error

    monkeypatch.setitem(sys.modules, "sky.client.sdk", SimpleNamespace(tail_logs=tail_logs))
    return Client(Settings(root=Path(), slug="p", owner="p"))


async def test_rule_02_a_log_request_that_a_sky_down_by_hand_cancels_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_whose_log_ends_in(RequestCancelled("Request 1234 is cancelled"), monkeypatch)
    assert await client.tail_logs("c", 1, print) is None


async def test_rule_11_a_log_request_that_a_restarted_server_forgot_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_whose_log_ends_in(RuntimeError("Failed to get request 0f3a: 404 not found"), monkeypatch)
    assert await client.tail_logs("c", 1, print) is None


async def test_rule_08_a_log_of_a_cluster_that_is_gone_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_whose_log_ends_in(ClusterDoesNotExist("c"), monkeypatch)
    with pytest.raises(errors.ClusterGone):
        await client.tail_logs("c", 1, print)


class ResourcesUnavailableError(Exception):
    """As sky.exceptions has it."""


# What SkyPilot 0.14.1 answers where Kubernetes forbids a launch, and the end of that launch's log.
_ANSWER = """\x1b[31mFailed to provision all possible launchable resources.\x1b[0m Relax the task's resource requirements: 1x Kubernetes(cpus=1, mem=1)
To keep retrying until the cluster is up, use the `--retry-until-up` flag.
Reasons for provision failures (for details, please check the log above):
Provision failures (tried 1 infra):

✗ Kubernetes (in-cluster) — (cpus=1, mem=1, ...)
  Failed to acquire resources in context in-cluster for {Kubernetes(cpus=1, mem=1)}."""  # noqa: E501
_LOG = r"""D 11-26 01:48:28.867 PID=61 provisioner.py:361]     raise ApiException(http_resp=r)
D 11-26 01:48:28.867 PID=61 provisioner.py:361] kubernetes.client.exceptions.ApiException: (403)
D 11-26 01:48:28.867 PID=61 provisioner.py:361] Reason: Forbidden
D 11-26 01:48:28.867 PID=61 provisioner.py:361] HTTP response headers: HTTPHeaderDict({'Cache-Control': 'no-cache, private', 'Content-Length': '305'})
D 11-26 01:48:28.867 PID=61 provisioner.py:361] HTTP response body: {"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"services is forbidden: User \"system:serviceaccount:sky:sky-api-server\" cannot create resource \"services\" in API group \"\" in the namespace \"sky\"","reason":"Forbidden","details":{"kind":"services"},"code":403}
D 11-26 01:48:28.867 PID=61 provisioner.py:361] 
D 11-26 01:48:28.867 PID=61 provisioner.py:366] Terminating the failed cluster.
D 11-26 01:48:28.921 PID=61 metadata_utils.py:115] Remove metadata of cluster c-fcd1e5cf.
"""  # noqa: E501, W291


def client_whose_launch_lacks_resources(tell: Callable[[Any], object], monkeypatch: pytest.MonkeyPatch) -> Client:
    """`tell` is what the server does when it is asked for the launch's log."""

    async def get(_: str) -> object:
        raise ResourcesUnavailableError(_ANSWER)

    def tail_provision_logs(_: str, *, follow: bool, tail: int, output_stream: Any) -> int:
        assert not follow
        assert tail > 0
        tell(output_stream)
        return 0

    monkeypatch.setitem(sys.modules, "sky.client.sdk_async", SimpleNamespace(get=get))
    monkeypatch.setitem(sys.modules, "sky.client.sdk", SimpleNamespace(tail_provision_logs=tail_provision_logs))
    return Client(Settings(root=Path(), slug="p", owner="p"))


async def test_what_kubernetes_forbids_is_read_from_the_launchs_log(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_whose_launch_lacks_resources(lambda out: out.write(_LOG), monkeypatch)
    with pytest.raises(errors.SkyForbidden) as told:
        await client.submitted_job("request", "c")
    account = "SkyPilot's account system:serviceaccount:sky:sky-api-server"
    assert str(told.value) == f'launching c: {account} may not create services in the namespace "sky"; give its role that verb'


def no_such_log(_: object) -> None:
    raise RuntimeError('{"detail":"Provision log path is not recorded for this cluster."}')


@pytest.mark.parametrize(
    "tell",
    [
        pytest.param(lambda out: out.write("Insufficient nvidia.com/gpu\n"), id="its log says nothing else"),
        pytest.param(no_such_log, id="there is no log"),
        pytest.param(lambda _: time.sleep(6), id="the log does not come"),
    ],
)
async def test_rule_07_any_other_lack_of_resources_stays_one(tell: Callable[[Any], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_PROVISION_LOG_WAIT", 0.5)
    client = client_whose_launch_lacks_resources(tell, monkeypatch)
    began = time.monotonic()
    with pytest.raises(errors.SkyNoCapacity, match="launching c: no resources available"):
        await client.submitted_job("request", "c")
    assert time.monotonic() - began < 5
