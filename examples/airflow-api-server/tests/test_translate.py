"""SkyPilot's errors become ours by the names in their class tree."""

from __future__ import annotations

from typing import Any

import pytest

from sky_orchestrate import errors
from sky_orchestrate.translate import one_line, translate

ENDPOINT = "http://sky.example:46580"


def raised(name: str, text: str = "", *bases: str) -> Exception:
    """An exception of SkyPilot's kind: its class, and those it derives from, by name alone."""
    kind: Any = Exception
    for base in reversed((name, *bases)):
        kind = type(base, (kind,), {})
    return kind(text)


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        pytest.param(raised("ApiServerConnectionError"), errors.EndpointUnreachable, id="connection"),
        pytest.param(raised("ReadTimeout", "", "RequestException"), errors.EndpointUnreachable, id="timeout"),
        pytest.param(
            RuntimeError("No SkyPilot API server endpoint is configured, and starting"), errors.EndpointUnreachable, id="no local server"
        ),
        pytest.param(raised("ApiServerAuthenticationError"), errors.EndpointRefused, id="401"),
        pytest.param(raised("PermissionDeniedError"), errors.EndpointRefused, id="403"),
        pytest.param(raised("APIVersionMismatchError"), errors.EndpointIncompatible, id="version"),
        pytest.param(raised("ClusterDoesNotExist", "", "ValueError"), errors.ClusterGone, id="no cluster"),
        pytest.param(raised("ClusterNotUpError"), errors.ClusterGone, id="cluster not up"),
        pytest.param(raised("ResourcesUnavailableError"), errors.SkyNoCapacity, id="no capacity"),
        pytest.param(raised("RequestInterruptedError"), errors.RequestLost, id="interrupted"),
        pytest.param(RuntimeError("Failed to get request 0f3a: 404 not found"), errors.RequestLost, id="request unknown"),
        pytest.param(raised("RequestCancelled"), errors.LaunchError, id="cancelled"),
        pytest.param(raised("InvalidClusterNameError"), errors.LaunchRejected, id="rejected"),
        pytest.param(raised("SomethingNew", "boom"), errors.LaunchError, id="anything else"),
    ],
)
def test_every_error_gets_its_kind_in_one_line(error: Exception, ours: type[errors.SkyOrchestrateError]) -> None:
    told = translate(error, "launching", ENDPOINT)
    assert type(told) is ours
    assert "\n" not in str(told)
    assert str(told).startswith("launching")


def test_what_cannot_change_by_itself_is_not_retried() -> None:
    assert not translate(raised("InvalidClusterNameError"), "launching", ENDPOINT).retryable
    assert not translate(raised("ApiServerAuthenticationError"), "launching", ENDPOINT).retryable
    assert translate(raised("ResourcesUnavailableError"), "launching", ENDPOINT).retryable


def test_our_own_errors_pass_as_they_are() -> None:
    ours = errors.SkyClusterLost("gone")
    assert translate(ours, "launching", ENDPOINT) is ours


def test_a_long_coloured_text_becomes_one_short_line() -> None:
    assert one_line("\x1b[33mone\ntwo\x1b[0m " + "x" * 900, limit=20) == "one two " + "x" * 11 + "…"


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(raised("CommandError", "Failed to get job status. srun: error: Slurm job 61 has expired"), id="its machine is gone"),
        pytest.param(raised("RequestCancelled", "the request is cancelled by another process"), id="it is being taken down"),
    ],
)
def test_rule_08_a_question_to_a_machine_that_is_going_away_is_no_failed_launch(error: Exception) -> None:
    assert type(translate(error, "asking for job 1", ENDPOINT, on_cluster=True)) is errors.ClusterGone
    assert type(translate(error, "launching", ENDPOINT)) is errors.LaunchError


_IN = (
    "Failed to provision all possible launchable resources. Provision failures (tried 1 infra):\n✗ Kubernetes (in-cluster) — 1CPU--1GB\n  "
)
_BODY = (
    r'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"pods is forbidden: User '
    r'\"system:serviceaccount:sky:sky-api-server\" cannot create resource \"pods\" in API group \"\" in the namespace \"sky\"",'
    r'"reason":"Forbidden","details":{"kind":"pods"},"code":403}'
)
_NODES = (
    'nodes is forbidden: User "system:serviceaccount:sky:sky-api-server" cannot list resource "nodes" in API group "" at the cluster scope'
)
_PULL = (
    'ErrImagePull: failed to pull and unpack image "registry.invalid/none:1": failed to resolve reference "registry.invalid/none:1": '
    "dial tcp: lookup registry.invalid: no such host"
)


@pytest.mark.parametrize(
    ("error", "ours", "words"),
    [
        pytest.param(
            raised("ApiException", "(403)\nReason: Forbidden\nHTTP response body: " + _BODY + "\n\n"),
            errors.SkyForbidden,
            'system:serviceaccount:sky:sky-api-server may not create pods in the namespace "sky"; give its role that verb',
            id="forbidden, as the API answers",
        ),
        pytest.param(
            raised("RuntimeError", _NODES),
            errors.SkyForbidden,
            "may not list nodes at the cluster scope",
            id="forbidden in the whole cluster",
        ),
        pytest.param(
            raised("ResourcesUnavailableError", _IN + _PULL),
            errors.SkyImageUnavailable,
            "the image registry.invalid/none:1 cannot be pulled",
            id="no such image",
        ),
        pytest.param(
            raised("ResourcesUnavailableError", _IN + 'ImagePullBackOff: Back-off pulling image "team/none:1"'),
            errors.SkyImageUnavailable,
            "the image team/none:1 cannot be pulled",
            id="no such image, asked for again",
        ),
        pytest.param(
            raised("ResourcesUnavailableError", _IN + "InvalidImageName: no idea"),
            errors.SkyImageUnavailable,
            "the image cannot",
            id="odd name",
        ),
    ],
)
def test_what_kubernetes_refuses_is_no_lack_of_capacity(error: Exception, ours: type[errors.SkyOrchestrateError], words: str) -> None:
    told = translate(error, "launching", ENDPOINT)
    assert type(told) is ours
    assert words in str(told)
    assert "\n" not in str(told)
    assert told.retryable is (ours is errors.SkyImageUnavailable)
