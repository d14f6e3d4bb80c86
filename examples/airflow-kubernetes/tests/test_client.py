"""The client on a stand-in for SkyPilot's SDK: what the server in memory cannot show."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

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
