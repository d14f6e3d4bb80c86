"""Whether the local API server answers (local/server.py): asked many times while it starts, beside whatever else has ports here."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from local import server


@contextmanager
def listening(answer: Callable[[bytes], bytes]) -> Iterator[tuple[int, list[str]]]:
    """The port of something that answers once, and the addresses it was asked from."""
    peers: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, peer = listener.accept()
            peers.append(peer[0])
            with connection:
                connection.sendall(answer(connection.recv(4096)))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], peers
        thread.join(5)


def http(status: str, body: str) -> Callable[[bytes], bytes]:
    return lambda _: f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    ("answer", "healthy"),
    [
        pytest.param(http("200 OK", '{"status": "healthy"}'), True, id="the server's own word"),
        pytest.param(http("200 OK", '{"status": "starting"}'), False, id="another word"),
        pytest.param(http("200 OK", "<html>"), False, id="another program's page"),
        pytest.param(http("503 Busy", '{"status": "healthy"}'), False, id="an error"),
        pytest.param(lambda asked: asked, False, id="an echo"),
        pytest.param(lambda _: b"", False, id="nothing"),
    ],
)
def test_only_its_own_word_makes_the_server_healthy(answer: Callable[[bytes], bytes], *, healthy: bool) -> None:
    with listening(answer) as (port, _):
        assert server.healthy(port) is healthy


def test_a_port_that_nobody_listens_on_is_not_healthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert not server.healthy(port)


def test_the_port_asked_for_can_never_be_the_callers_own() -> None:
    with listening(http("200 OK", '{"status": "healthy"}')) as (port, peers):
        assert server.healthy(port)
    assert peers == ["127.0.0.2"]
