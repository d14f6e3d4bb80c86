"""A Temporal server for a benchmark, with its histories in a folder of its own."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from temporal.dev_server import find_temporal, start_dev


@contextmanager
def temporal_server(folder: Path) -> Iterator[str]:
    """Its address."""
    port, ui_port = _free_ports(2)
    with (folder / "temporal.log").open("w") as out:
        server = subprocess.Popen(start_dev(find_temporal(), folder, port=port, ui_port=ui_port), stdout=out, stderr=subprocess.STDOUT)
        try:
            _wait(port, server)
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(30)


def _wait(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise SystemExit("the Temporal server does not answer")


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
