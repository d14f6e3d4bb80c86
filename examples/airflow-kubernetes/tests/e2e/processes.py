"""Processes of ours: each with a log, marked so that all of them are found again, whoever is their parent by then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")

# Everything here is for a quiet machine with two cores; a busy one asks for more patience.
PATIENCE = float(os.environ.get("SKY_E2E_PATIENCE", "1"))
_MARK = "SKY_E2E_MARK"


def until(what: str, condition: Callable[[], T | None], *, within: float, every: float = 0.5) -> T:
    """The condition's first true value; AssertionError that says `what` did not come about."""
    give_up = time.monotonic() + within * PATIENCE
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < give_up, f"not within {within:g} s x {PATIENCE:g}: {what}"
        time.sleep(every)


@dataclass
class Household:
    """All processes of one test session. `environ` is what each of them starts with."""

    root: Path
    folder: Path
    environ: dict[str, str]
    mark: str = field(default_factory=lambda: f"{os.getpid()}-{time.time():.0f}")

    def start(self, *command: str, log: str, environ: Mapping[str, str] | None = None, program: str = sys.executable) -> psutil.Process:
        """`command` with this Python or another program, in a session of its own: Ctrl-C is for the tests, which then end it."""
        with (self.folder / f"{log}.log").open("ab") as out:
            return psutil.Popen(
                [program, *command],
                cwd=self.root,
                env={**self.environ, _MARK: self.mark, **(environ or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, *command: str, environ: Mapping[str, str] | None = None, within: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *command],
            cwd=self.root,
            env={**self.environ, _MARK: self.mark, **(environ or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=within * PATIENCE,
        )

    def members(self) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(_MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def end(self) -> None:
        for end in (psutil.Process.terminate, psutil.Process.kill):
            members = self.members()
            for process in members:
                try:
                    end(process)
                except psutil.NoSuchProcess:
                    continue
            psutil.wait_procs(members, timeout=10)


@contextmanager
def keep_house(root: Path, folder: Path, **environ: str) -> Iterator[Household]:
    """Processes that see nothing of the caller's own settings, profiles and homes, and all end with the tests."""
    (folder / "home").mkdir()
    foreign = ("PREFECT_", "TEMPORAL_", "AIRFLOW_", "SKY", "AWS_", "DATA_BUCKET")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    household = Household(root, folder, {**clean, "HOME": str(folder / "home"), **environ})
    # Told to end by `timeout` or CI, as by Ctrl-C: the fixtures still clear up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield household
    finally:
        household.end()


def kill_9(*roots: psutil.Process) -> None:
    """As power loss does: these and all their children, none of which gets to say a word."""
    doomed: list[psutil.Process] = []
    for process in roots:
        try:
            doomed += [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    for process in doomed:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(doomed, timeout=10)
