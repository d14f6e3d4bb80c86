"""Which processes are ours, and starting and stopping them. A pid alone proves nothing: after a reboot it is somebody else's."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from local.place import Place, boot_id

# Every process started here, and every job, carries this variable: the folder it belongs to.
MARK = "SKY_ORCHESTRATE_LOCAL_FOLDER"
# These rename themselves and lose their environment by it; they are told by the files they hold open.
_RENAMED = ("munged", "slurmctld", "slurmd", "slurmstepd", "ssh", "sshd", "sshd-session")


def start(place: Place, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Start a daemon of ours in the background, after what an earlier one left; its output goes to log/NAME.log."""
    stop(place, name)
    with (place.base / "log" / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=place.base / "log",
            env={**environment, MARK: str(place.folder)},
            start_new_session=True,
        )
    process.returncode = 0  # it is not for this process to wait for
    _pid_file(place, name).write_text(_identity(process.pid) or "")


def running(place: Place, name: str) -> int | None:
    """The pid of a daemon of ours that lives."""
    try:
        identity = _pid_file(place, name).read_text()
        pid = int(identity.split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return pid if _identity(pid) == identity else None


def stop(place: Place, name: str, *, grace: float = 5) -> None:
    """Stop one daemon and the processes below it, or what a killed one left of them."""
    pid = running(place, name)
    family = _session(place.folder, name) | (_below({pid}) if pid else set())
    if pid:
        _kill({pid}, signal.SIGTERM)
        _wait_gone({pid}, grace)
    _kill(family, signal.SIGKILL)
    _wait_gone(family, grace)
    _pid_file(place, name).unlink(missing_ok=True)


def ours(folder: Path) -> set[int]:
    """Every living process that belongs to this folder: by its mark, by the files it holds open, or by a parent or daemon of ours."""
    spared = _above(os.getpid())
    found = {pid for pid in _pids() if pid not in spared and _belongs(pid, folder)}
    for path in (folder / "run").glob("*.pid"):
        found |= _session(folder, path.stem)
    return _below(found) - spared


def stop_all(folder: Path, *, patience: float = 30) -> set[int]:
    """End every process of this folder and of its jobs, gently first; returns those that would not go."""
    deadline = time.monotonic() + patience
    number = signal.SIGTERM
    while (found := ours(folder)) and time.monotonic() < deadline:
        _kill(found, number)
        _wait_gone(found, 1.5)
        number = signal.SIGKILL
    return found


def _session(folder: Path, name: str) -> set[int]:
    """What a daemon left when it was killed: the rest of its session, with its log still open."""
    try:
        leader, _, boot = (folder / "run" / f"{name}.pid").read_text().split()
    except (OSError, ValueError):
        return set()
    if boot != boot_id():
        return set()
    sessions = {pid: fields[3] for pid in _pids() if (fields := _stat(pid)) and fields[0] != "Z"}
    return {pid for pid, session in sessions.items() if session == leader and _holds_open(pid, folder)}


def _pid_file(place: Place, name: str) -> Path:
    return place.base / "run" / f"{name}.pid"


def _identity(pid: int) -> str | None:
    """A process beyond doubt: its pid, when it was started, and in which boot of the machine."""
    fields = _stat(pid)
    return f"{pid} {fields[19]} {boot_id()}" if fields and fields[0] != "Z" else None


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat that follow the command's name: state, parent, and so on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _belongs(pid: int, folder: Path) -> bool:
    proc = Path(f"/proc/{pid}")
    try:
        if proc.stat().st_uid != os.getuid() or (_stat(pid) or ["Z"])[0] == "Z":
            return False
        if f"{MARK}={folder}".encode() in (proc / "environ").read_bytes().split(b"\0"):
            return True
        return (proc / "exe").readlink().name.removesuffix(" (deleted)") in _RENAMED and _holds_open(pid, folder)
    except OSError:
        return False


def _holds_open(pid: int, folder: Path) -> bool:
    """Whether a process of the caller's has a file in the folder open."""
    files = Path(f"/proc/{pid}/fd")
    try:
        for entry in os.listdir(files):
            with contextlib.suppress(FileNotFoundError):
                if os.readlink(files / entry).startswith(f"{folder}/"):
                    return True
    except OSError:
        pass
    return False


def _parents() -> dict[int, int]:
    return {pid: int(fields[1]) for pid in _pids() if (fields := _stat(pid))}


def _below(pids: set[int]) -> set[int]:
    parents, found = _parents(), set(pids)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _above(pid: int) -> set[int]:
    parents, found = _parents(), set[int]()
    while pid and pid not in found:
        found.add(pid)
        pid = parents.get(pid, 0)
    return found


def _kill(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _wait_gone(pids: set[int], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        if not any(fields[0] != "Z" for pid in pids if (fields := _stat(pid))):
            return
        time.sleep(0.05)
