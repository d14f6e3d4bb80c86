"""What the service accounts of the manifests may do in the cluster, and what its namespaces admit."""

from __future__ import annotations

import pytest

from tests.e2e.deployed.deployment import Deployed

pytestmark = [pytest.mark.e2e, pytest.mark.kubernetes, pytest.mark.deadline(900)]

MAY = [
    pytest.param("sky-api-server", "create", "pods", "skypilot", True, id="the server makes pods in its namespace"),
    pytest.param("sky-api-server", "create", "pods", "workers", False, id="and none in the workers'"),
    pytest.param("sky-api-server", "create", "pods", "default", False, id="nor anywhere else"),
    pytest.param("sky-api-server", "get", "secrets", "skypilot", False, id="it reads no secret of its own namespace"),
    pytest.param("sky-api-server", "get", "secrets", "workers", False, id="nor the workers'"),
    pytest.param("sky-api-server", "create", "rolebindings", "skypilot", False, id="it gives nobody rights"),
    pytest.param("sky-api-server", "create", "namespaces", "skypilot", False, id="it makes no namespace"),
    pytest.param("sky-api-server", "list", "nodes", "skypilot", True, id="it sees the nodes"),
    pytest.param("sky-api-server", "patch", "nodes", "skypilot", False, id="and changes none"),
    pytest.param("sky-cluster", "delete", "pods", "skypilot", True, id="a cluster takes itself down"),
    pytest.param("sky-cluster", "create", "pods", "skypilot", False, id="and makes none"),
    pytest.param("sky-cluster", "create", "pods/exec", "skypilot", False, id="and enters none"),
    pytest.param("sky-cluster", "get", "secrets", "skypilot", False, id="and reads no secret"),
    pytest.param("sky-cluster", "list", "nodes", "skypilot", False, id="and sees no node"),
]


@pytest.mark.parametrize(("account", "verb", "resource", "namespace", "may"), MAY)
def test_each_account_may_do_what_its_role_says_and_no_more(
    deployed: Deployed, account: str, verb: str, resource: str, namespace: str, *, may: bool
) -> None:
    assert deployed.may(deployed.skypilot, account, verb, resource, namespace) == may


def test_the_servers_own_token_does_not_read_a_secret_of_another_namespace(deployed: Deployed) -> None:
    secrets = deployed.workers.kubectl("get", "secrets", "--output", "name").split()
    (secret,) = [name.removeprefix("secret/") for name in secrets if name.startswith("secret/worker")]
    read = ("get", "secret", secret, "--namespace", deployed.workers.namespace)
    inside = ("exec", "deployment/sky-api-server", "--container", "server", "--", "kubectl")
    # With a right that it has, the same way works.
    assert "sky-api-server" in deployed.skypilot.kubectl(*inside, "get", "pods", "--output", "name")
    with pytest.raises(AssertionError, match=r"Forbidden.*cannot get resource \"secrets\""):
        deployed.skypilot.kubectl(*inside, *read)


def test_the_namespace_admits_no_pod_that_is_not_restricted(deployed: Deployed) -> None:
    with pytest.raises(AssertionError, match="violates PodSecurity"):
        deployed.workers.kubectl("run", "root", "--image=python:3.11-slim", "--image-pull-policy=Never")
