"""Temporal's own development server with its Web UI, kept in .temporal/: python -m temporal.dev_server

With --find it only sees to it that the command is here.

The `temporal` command is the one on PATH, else it is built once with Go and kept in the user's cache.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from sky_orchestrate.errors import SettingsError
from sky_orchestrate.settings import load_settings

# The last version that `go install` builds: later ones have `replace` in their go.mod.
VERSION = "1.5.1"
PORT, UI_PORT = 7233, 8233
_MODULE = f"github.com/temporalio/cli/cmd/temporal@v{VERSION}"


def find_temporal() -> str:
    """The command's path, built where it is missing. Raises SettingsError saying what to install."""
    found = shutil.which("temporal")
    if found:
        return found
    built = _cache() / "temporal"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        # Several processes may want it at once; the first one builds it.
        with FileLock(built.with_suffix(".lock")):
            if not built.exists():
                _build(built)
    return str(built)


def start_dev(temporal: str, folder: Path, *, port: int, ui_port: int) -> list[str]:
    """The command that serves on these ports, with its histories kept in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    where = ["--ip", "127.0.0.1", "--port", str(port), "--ui-port", str(ui_port)]
    return [temporal, "server", "start-dev", *where, "--db-filename", str(folder / "dev.db"), "--log-level", "error"]


@contextmanager
def serving(command: list[str], port: int, *, within: float = 60) -> Iterator[None]:
    """The server for the length of the block, once it listens. Raises SettingsError where it does not within so many seconds."""
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            give_up = time.monotonic() + within
            while not listens(port):
                if server.poll() is not None or time.monotonic() > give_up:
                    log.seek(0)
                    said = log.read().decode(errors="replace").strip().splitlines()
                    raise SettingsError(f"Temporal did not start: {said[-1] if said else 'it says nothing'}")
                time.sleep(0.05)
            yield
        finally:
            server.terminate()
            server.wait(20)


def listens(port: int) -> bool:
    """Whether anybody does on this machine's own address."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sky-orchestrate" / f"temporal-{VERSION}"


def _build(target: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise SettingsError("the `temporal` command is not here: install Temporal's CLI, or Go, with which it is built")
    print(f"building Temporal's CLI {VERSION} with Go, once; this takes some minutes", file=sys.stderr)
    built = target.parent / "making"
    done = subprocess.run([go, "install", _MODULE], env={**os.environ, "GOBIN": str(built)}, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason told"])[-1]
        raise SettingsError(f"Temporal's CLI could not be built ({reason}): install it, and put it on PATH")
    (built / "temporal").replace(target)
    shutil.rmtree(built, ignore_errors=True)


def main() -> int:
    try:
        temporal = find_temporal()
        if "--find" in sys.argv:
            return 0
        command = start_dev(temporal, load_settings().root / ".temporal", port=PORT, ui_port=UI_PORT)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"Temporal on 127.0.0.1:{PORT}, its page on http://127.0.0.1:{UI_PORT}", flush=True)
    # In its place: whoever stops this process stops the server.
    return os.execv(command[0], command)


if __name__ == "__main__":
    sys.exit(main())
