"""A server for the length of a block."""

from __future__ import annotations

import sys

import pytest

from sky_orchestrate.errors import SettingsError
from temporal.dev_server import listens, serving
from tests.temporal.dev_server import free_ports


def test_a_server_that_ends_at_once_is_told_of_in_its_own_last_words() -> None:
    (port,) = free_ports(1)
    with (
        pytest.raises(SettingsError, match="did not start: the port is taken"),
        serving(["sh", "-c", "echo starting; echo the port is taken; exit 1"], port),
    ):
        pytest.fail("the block was entered")


def test_a_server_that_does_not_listen_is_given_up_and_ended() -> None:
    (port,) = free_ports(1)
    with pytest.raises(SettingsError, match="it says nothing"), serving(["sleep", "1000"], port, within=0.2):
        pytest.fail("the block was entered")


def test_the_server_ends_with_the_block() -> None:
    (port,) = free_ports(1)
    with serving([sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)], port):
        assert listens(port)
    assert not listens(port)
