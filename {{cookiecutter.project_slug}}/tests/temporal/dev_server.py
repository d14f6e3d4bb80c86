"""Temporal's development server for a session of tests: in memory, on a port of its own."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from temporal.dev_server import find_temporal


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@contextmanager
def dev_server(log: Path, *, within: float = 60) -> Iterator[str]:
    """Its address, once it answers."""
    port, http, metrics = free_ports(3)
    where = ["--ip", "127.0.0.1", "--port", str(port), "--http-port", str(http), "--metrics-port", str(metrics), "--headless"]
    with log.open("wb") as out:
        server = subprocess.Popen(
            [find_temporal(), "server", "start-dev", *where, "--log-level", "error"], stdout=out, stderr=subprocess.STDOUT
        )
    try:
        give_up = time.monotonic() + within
        while not _listens(port):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < give_up, f"the dev server did not answer within {within:g} s"
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=20)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
