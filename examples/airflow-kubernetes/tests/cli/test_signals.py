"""What Ctrl-C and being told to stop mean to a command that runs a task."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tests.cli.conftest import ROOT, Write

_PROCESS = """
import importlib, sys
from sky_orchestrate.result import Pace
from sky_orchestrate.settings import load_settings
from tests.fake_sky import FakeServer, Speed
from pathlib import Path
from sky_orchestrate.settings import load_settings
cli = importlib.import_module("sky_orchestrate.__main__")
cli.load_settings = lambda: load_settings({}, root=Path(sys.argv[3]).parent)
server = FakeServer(Speed(second=1, down=float(sys.argv[1])))
code = cli.main(sys.argv[2:], connect=lambda settings: server.client(), pace=Pace(retry=0.05, poll=(0.05, 0.1), teardown=10))
print("left:", server.left)
sys.exit(code)
"""


class Running:
    """The command in a process of its own, so that it can be sent signals."""

    def __init__(self, arguments: Sequence[str], *, down: float) -> None:
        command = [sys.executable, "-u", "-c", _PROCESS, str(down), *arguments]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process: subprocess.Popen[Any] = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.said = ""

    def until(self, text: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if text in line:
                return
        pytest.fail(f"{text!r} was never said: {self.said}")

    def end(self) -> int:
        assert self.process.stdout is not None
        self.said += self.process.stdout.read()
        return self.process.wait(timeout=20)


@pytest.fixture
def start(task: Write) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def run(*, down: float = 0.01) -> Running:
        started.append(Running(["run", task("echo begun", "sleep 60"), "--key", "a"], down=down))
        started[-1].until("begun")
        return started[-1]

    yield run
    for one in started:
        one.process.kill()
        one.process.wait()


def test_ctrl_c_takes_the_cluster_down_and_says_so(start: Callable[..., Running]) -> None:
    running = start()
    began = time.monotonic()
    running.process.send_signal(signal.SIGINT)
    assert running.end() == 130
    assert time.monotonic() - began < 10
    assert "cancelling, and taking" in running.said
    assert "is gone" in running.said
    assert "left: []" in running.said
    assert "Traceback" not in running.said


def test_a_second_ctrl_c_stops_at_once_and_tells_what_remains(start: Callable[..., Running]) -> None:
    running = start(down=30)
    running.process.send_signal(signal.SIGINT)
    running.until("Ctrl-C again stops at once")
    running.process.send_signal(signal.SIGINT)
    assert running.end() == 130
    assert "may still be up and cost money; run `python -m sky_orchestrate down" in running.said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_being_told_to_stop_is_no_cancel(start: Callable[..., Running], number: signal.Signals) -> None:
    running = start()
    running.process.send_signal(number)
    assert running.end() == 143
    assert "stays for the next attempt" in running.said
    assert "left: []" not in running.said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_rule_06_being_told_to_stop_after_ctrl_c_does_not_cut_the_teardown_short(
    start: Callable[..., Running], number: signal.Signals
) -> None:
    running = start(down=1)
    running.process.send_signal(signal.SIGINT)
    running.until("cancelling, and taking")
    for _ in range(2):
        running.process.send_signal(number)
        time.sleep(0.2)
    assert running.end() == 130
    assert "is gone" in running.said
    assert "left: []" in running.said
