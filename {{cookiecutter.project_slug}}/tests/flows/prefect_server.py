"""Prefect's API server for the tests, in a process of its own: `python -m tests.flows.prefect_server SOCKET`.

It is what Prefect's own test harness starts, in a third of the time: the database that its hundred migrations make is kept for the
next start, the tests' own process does not import the server to start it, and the processes of one test run share it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
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
    """The URL of a server's API, whose database lies in `folder`: the one that is up for it, else one that is started."""
    folder.mkdir(parents=True, exist_ok=True)
    database = folder / "prefect.db"
    settings: dict[Any, Any] = {
        PREFECT_SERVER_DATABASE_CONNECTION_URL: f"sqlite+aiosqlite:///{database}",
        PREFECT_SERVER_ANALYTICS_ENABLED: False,
    }
    with temporary_settings(settings), _held(folder) as url:
        # The socket takes the question before there is a server to answer it.
        httpx.get(f"{url}/health", timeout=timeout).raise_for_status()
        if not MIGRATED.exists():
            _keep(database)
        yield url


@contextmanager
def _held(folder: Path) -> Iterator[str]:
    """The server reads a named pipe and ends when nobody holds it any more: so it does when the tests are killed, too."""
    pipe, url, process = folder / "pipe", folder / "url", None
    with (folder / "lock").open("w") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        try:
            holding = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            pipe.unlink(missing_ok=True)
            os.mkfifo(pipe)
            reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
            holding = os.open(pipe, os.O_WRONLY)
            os.set_blocking(reading, True)
            process = _start(folder / "prefect.db", reading, url)
    try:
        yield url.read_text()
    finally:
        os.close(holding)
        if process is not None:
            process.wait()


def _start(database: Path, reading: int, url: Path) -> subprocess.Popen[bytes]:
    if MIGRATED.exists():
        shutil.copy(MIGRATED, database)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        command = [sys.executable, "-m", __name__, str(listening.fileno())]
        environ = {**os.environ, **get_current_settings().to_environment_variables(exclude_unset=True)}
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdin=reading, pass_fds=[listening.fileno()])
        url.write_text(f"http://127.0.0.1:{listening.getsockname()[1]}/api")
    os.close(reading)
    return process


def _keep(database: Path) -> None:
    """Whole or not at all: other processes may look for it at any moment."""
    MIGRATED.parent.mkdir(exist_ok=True)
    copy = MIGRATED.with_suffix(f".{os.getpid()}")
    with closing(sqlite3.connect(database)) as live, closing(sqlite3.connect(copy)) as kept:
        live.backup(kept)
    copy.rename(MIGRATED)


def serve(listening: socket.socket) -> None:
    """Until standard input ends."""
    import uvicorn
    from prefect.server.api.server import create_app

    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    app = asked_again_soon(create_app(ephemeral=True, final=True))
    uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on")).run([listening])


def asked_again_soon(app: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """The same application; where SQLite is busy with another test it answers 503, and clients would wait two seconds and more."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        async def sent(message: dict[str, Any]) -> None:
            if message.get("status") == 503:
                message["headers"] = [*message["headers"], (b"retry-after", b"0.1")]
            await send(message)

        await app(scope, receive, sent)

    return answer


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
