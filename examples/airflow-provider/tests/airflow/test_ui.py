"""`make ui`: whatever ends it, nothing of Airflow is left."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from tests.conftest import ROOT

_MARK = "SKY_ORCHESTRATE_TEST_OF_UI"

# A stand-in for standalone: two parts, of which one ignores SIGTERM, and a task in a session of its own.
_KEEPER = """
import os, sys
from airflow_local.ui import Ending, keep
sys.exit(keep(Ending(), sys.argv[1:], os.environ, patience=0.3, last_words=0.3))
"""
_FAMILY = """
sh -c 'setsid sleep 600 & wait' &
sh -c 'trap "" TERM; while :; do sleep 0.1; done' &
while :; do sleep 0.1; done
"""


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[str]:
    """What all processes of the test carry. None outlives it."""
    yield str(tmp_path)
    for process in carrying(str(tmp_path)):
        process.kill()


def carrying(mark: str, *, name: str = "") -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(_MARK) == mark and process.status() != psutil.STATUS_ZOMBIE and name in process.name():
                found.append(process)
        except psutil.Error:
            continue
    return found


def until(condition: Callable[[], object], *, seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, f"not within {seconds:g} s"
        time.sleep(0.1)


def keeper(mark: str, family: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _KEEPER, "sh", "-c", family], cwd=ROOT, env={**os.environ, _MARK: mark})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_every_process_that_was_started(mark: str, number: signal.Signals) -> None:
    process = keeper(mark, _FAMILY)
    until(lambda: len(carrying(mark, name="sleep")) == 3, seconds=20)
    process.send_signal(number)
    assert process.wait(20) == (0 if number == signal.SIGINT else 128 + number)
    assert carrying(mark) == []


def test_what_a_killed_standalone_leaves_is_ended_too(mark: str) -> None:
    process = keeper(mark, _FAMILY)
    until(lambda: len(carrying(mark, name="sleep")) == 3, seconds=20)
    (standalone,) = psutil.Process(process.pid).children()
    standalone.kill()
    assert process.wait(20) == -signal.SIGKILL % 256
    assert carrying(mark) == []


def test_the_exit_code_of_one_that_ends_by_itself_is_told(mark: str) -> None:
    assert keeper(mark, "exit 3").wait(20) == 3


@pytest.fixture
def page(tmp_path: Path) -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@dataclass
class Terminal:
    """A terminal of which `shell` is the first process."""

    shell: int
    screen: int | None

    def press(self, keys: bytes) -> None:
        assert self.screen is not None
        os.write(self.screen, keys)

    def close(self) -> None:
        if self.screen is not None:
            os.close(self.screen)
            self.screen = None

    def look(self) -> None:
        """What nobody reads would hold its processes up."""
        with contextlib.suppress(OSError):
            while self.screen is not None and os.read(self.screen, 65536):
                pass

    @property
    def make(self) -> psutil.Process:
        family = [psutil.Process(self.shell), *psutil.Process(self.shell).children(recursive=True)]
        return next(process for process in family if process.name() == "make")


@contextlib.contextmanager
def airflow_in_a_terminal(command: str, page: str, mark: str, home: Path) -> Iterator[Terminal]:
    """A terminal whose shell runs `command`, once Airflow is up in it."""
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")},
        # Airflow gives its processes titles, which would lie over the mark.
        "SPT_NOENV": "1",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__PORT": page.rpartition(":")[2],
        "AIRFLOW__API__BASE_URL": page,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{page}/execution/",
        _MARK: mark,
    }
    shell, screen = pty.fork()
    if shell == 0:
        os.chdir(ROOT)
        os.execvpe("bash", ["bash", "-c", command], environ)
    os.set_blocking(screen, False)
    terminal = Terminal(shell, screen)

    def up() -> bool:
        terminal.look()
        try:
            return all(part["status"] == "healthy" for part in httpx.get(f"{page}/api/v2/monitor/health").json().values())
        except (httpx.HTTPError, ValueError):
            return False

    try:
        until(up, seconds=180)
        yield terminal
        os.waitpid(shell, 0)
    finally:
        terminal.close()


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("command", "end"),
    [
        pytest.param("make ui; true", lambda terminal: terminal.press(b"\x03"), id="ctrl-c"),
        pytest.param("make ui; true", lambda terminal: terminal.make.terminate(), id="sigterm of make"),
        pytest.param("make ui; true", Terminal.close, id="closed terminal"),
        pytest.param("exec make ui", Terminal.close, id="closed terminal of make alone"),
    ],
)
def test_airflow_itself_leaves_nothing(command: str, end: Callable[[Terminal], None], page: str, mark: str, tmp_path: Path) -> None:
    with airflow_in_a_terminal(command, page, mark, tmp_path / "airflow") as terminal:
        assert len(carrying(mark)) > 5
        end(terminal)
        until(lambda: terminal.look() or not carrying(mark), seconds=60)
