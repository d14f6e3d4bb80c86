"""`make ui`: Airflow, whole, of which nothing is left once this process is told to end, however it is told.

Airflow's standalone ends its parts at Ctrl-C alone: at another signal, or with its terminal closed, it leaves them running.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import psutil

_TOLD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POLL = 0.1


class Ending:
    """Whether this process was told to end, and how often."""

    def __init__(self) -> None:
        self.signals: list[int] = []
        self._output = select.poll()
        self._output.register(sys.stdout.fileno(), 0)
        for number in _TOLD:
            signal.signal(number, self._told)

    def __bool__(self) -> bool:
        # A terminal that closes tells its session's leader, which may be make, and make tells nobody.
        if not self.signals and any(event & (select.POLLHUP | select.POLLERR) for _, event in self._output.poll(0)):
            self.signals.append(signal.SIGHUP)
        return bool(self.signals)

    @property
    def code(self) -> int:
        """The exit code of a process that has heeded a signal; Ctrl-C is how Airflow's users end it well."""
        return 0 if self.signals[0] == signal.SIGINT else 128 + self.signals[0]

    def _told(self, number: int, frame: object) -> None:  # noqa: ARG002  # the signature of a handler
        self.signals.append(number)


def keep(ending: Ending, command: Sequence[str], environ: Mapping[str, str], *, patience: float = 20.0, last_words: float = 5.0) -> int:
    """Run `command` until it ends or this process is told to, and end all that it has started. Returns the exit code.

    Its parts have `patience` seconds to end by themselves, which a second signal cuts short; whatever is left then has the last ones.
    """
    # A session of its own: what belongs to it is told by that, whoever is its parent by then, and the terminal's signals come here alone.
    kept = psutil.Popen(command, env=dict(environ), start_new_session=True)
    while kept.poll() is None and not ending:
        time.sleep(_POLL)
    family = _family(kept.pid)
    if ending:
        # As standalone does itself at Ctrl-C.
        parts = kept.children() if kept.poll() is None else []
        _each(parts, signal.SIGTERM)
        _gone(parts, patience, unless=ending)
    # Again and again: what is told to end may have started another process just before.
    for number in (signal.SIGTERM, *(signal.SIGKILL,) * 5):
        family |= _family(kept.pid)
        _each(family, number)
        _gone(family, last_words)
    return ending.code if ending else kept.wait()


def _family(session: int) -> set[psutil.Process]:
    """The processes of a session, and those below them in sessions of their own."""
    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == session:
                found |= {process, *process.children(recursive=True)}
    return found


def _each(processes: Collection[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)


def _gone(processes: Collection[psutil.Process], within: float, *, unless: Ending | None = None) -> None:
    """Wait for their end, but no longer than so many seconds, and not after another signal."""
    told, give_up = len(unless.signals) if unless else 0, time.monotonic() + within
    while any(map(_lives, processes)) and time.monotonic() < give_up and (unless is None or len(unless.signals) == told):
        time.sleep(_POLL)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def main() -> int:
    # Standalone starts `airflow` by its name.
    programs = str(Path(sys.executable).parent)
    environ = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    ending = Ending()
    code = keep(ending, [sys.executable, "-m", "airflow_local.prepare"], environ)
    return code if code or ending else keep(ending, [sys.executable, "-m", "airflow", "standalone"], environ)


if __name__ == "__main__":
    sys.exit(main())
