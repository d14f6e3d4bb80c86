"""Temporal's development server for tests and benchmarks: in memory, on a port of its own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from temporal.dev_server import find_temporal, serving


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
def dev_server() -> Iterator[str]:
    """Its address, once it answers."""
    port, http, metrics = free_ports(3)
    where = ["--ip", "127.0.0.1", "--port", str(port), "--http-port", str(http), "--metrics-port", str(metrics), "--headless"]
    with serving([find_temporal(), "server", "start-dev", *where, "--log-level", "error"], port):
        yield f"127.0.0.1:{port}"
