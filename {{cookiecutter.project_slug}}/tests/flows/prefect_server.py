"""Prefect's API server for the tests, in a process of its own: `python -m tests.flows.prefect_server SOCKET`.

It is what Prefect's own test harness starts, in a third of the time: the database that its hundred migrations make is kept for the
next start, and the tests' own process does not import the server to start it.
"""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import prefect
from prefect.settings import (
    PREFECT_SERVER_ANALYTICS_ENABLED,
    PREFECT_SERVER_DATABASE_CONNECTION_URL,
    get_current_settings,
    temporary_settings,
)

ROOT = Path(__file__).resolve().parents[2]
MIGRATED = ROOT / ".prefect" / f"tests-{prefect.__version__}.db"


@contextmanager
def prefect_server(folder: Path, *, timeout: float) -> Iterator[str]:
    """The URL of a server's API, whose database lies in `folder`."""
    database = folder / "prefect.db"
    if MIGRATED.exists():
        shutil.copy(MIGRATED, database)
    settings: dict[Any, Any] = {
        PREFECT_SERVER_DATABASE_CONNECTION_URL: f"sqlite+aiosqlite:///{database}",
        PREFECT_SERVER_ANALYTICS_ENABLED: False,
    }
    with temporary_settings(settings), _process() as url:
        # The socket takes the question before there is a server to answer it.
        httpx.get(f"{url}/health", timeout=timeout).raise_for_status()
        if not MIGRATED.exists():
            _keep(database)
        yield url


@contextmanager
def _process() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        command = [sys.executable, "-m", __name__, str(listening.fileno())]
        environ = {**os.environ, **get_current_settings().to_environment_variables(exclude_unset=True)}
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdin=subprocess.PIPE, pass_fds=[listening.fileno()])
        port = listening.getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/api"
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def _keep(database: Path) -> None:
    """Whole or not at all: other processes may look for it at any moment."""
    MIGRATED.parent.mkdir(exist_ok=True)
    copy = MIGRATED.with_suffix(f".{os.getpid()}")
    with closing(sqlite3.connect(database)) as live, closing(sqlite3.connect(copy)) as kept:
        live.backup(kept)
    copy.rename(MIGRATED)


def serve(listening: socket.socket) -> None:
    """Until standard input ends: so it does when the tests are killed, too."""
    import uvicorn
    from prefect.server.api.server import create_app

    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    app = create_app(ephemeral=True, final=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on")).run([listening])


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
