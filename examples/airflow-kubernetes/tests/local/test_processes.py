"""Which processes are ours, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from local import place, processes
from local.place import Place


@pytest.fixture
def marked(here: Place) -> Iterator[subprocess.Popen[bytes]]:
    """A process that belongs to the folder, and does not heed SIGTERM."""
    code = (
        "import signal, subprocess, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); subprocess.Popen(['sleep', '60']); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env={processes.MARK: str(here.folder), "PATH": "/usr/bin:/bin"})
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_pid_file_of_another_process_means_that_ours_is_gone(here: Place) -> None:
    (here.base / "run" / "api.pid").write_text(f"{os.getpid()} 1 {place.boot_id()}")
    assert processes.running(here, "api") is None
    processes.stop(here, "api")
    assert not (here.base / "run" / "api.pid").exists()


def test_starts_a_daemon_knows_it_again_and_stops_it_with_what_is_below_it(here: Place) -> None:
    processes.start(here, "probe", ["/bin/sh", "-c", "sleep 60 & wait"], {"PATH": "/usr/bin:/bin"})
    pid = processes.running(here, "probe")
    assert pid is not None
    time.sleep(0.3)
    assert len(processes.ours(here.folder)) == 2
    processes.stop(here, "probe")
    assert processes.running(here, "probe") is None
    assert processes.ours(here.folder) == set()


def test_what_a_killed_daemon_leaves_is_ours_even_without_its_mark(here: Place) -> None:
    processes.start(here, "probe", ["/bin/sh", "-c", "env -i sleep 60 & wait"], {"PATH": "/usr/bin:/bin"})
    leader = processes.running(here, "probe")
    assert leader is not None
    time.sleep(0.3)
    (orphan,) = processes.ours(here.folder) - {leader}
    os.kill(leader, signal.SIGKILL)
    os.waitpid(leader, 0)
    assert processes.ours(here.folder) == {orphan}
    processes.stop(here, "probe")
    assert processes._identity(orphan) is None


def test_ours_are_those_with_the_folders_mark_and_their_children(here: Place, marked: subprocess.Popen[bytes]) -> None:
    time.sleep(0.3)
    found = processes.ours(here.folder)
    assert marked.pid in found
    assert len(found) == 2
    assert processes.ours(here.folder.with_name(".loc")) == set()
    assert os.getpid() not in found


def test_ends_even_what_does_not_heed_sigterm(here: Place, marked: subprocess.Popen[bytes]) -> None:
    time.sleep(0.3)
    assert processes.stop_all(here.folder) == set()
    assert processes._identity(marked.pid) is None
