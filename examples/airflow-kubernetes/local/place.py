"""Where the local SkyPilot lies, what it remembers, and the lock that lets one command at a time change it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
# A Unix socket's path ends at 108 bytes, and ssh adds 57 of its own to the connections it shares.
_LONGEST_BASE = 44


class LocalError(Exception):
    """One line saying what is wrong and what to do about it."""


@dataclass(frozen=True)
class Place:
    """`folder` is `.local/` of the project; `base` is the name programs call it by: short and without spaces."""

    folder: Path
    base: Path

    @property
    def home(self) -> Path:
        """The home folder of the API server and of every job, in place of the caller's own."""
        return self.base / "home"

    @property
    def slurm_conf(self) -> Path:
        return self.base / "etc" / "slurm.conf"

    @property
    def venv(self) -> Path:
        return self.base / "venv"

    @property
    def alias(self) -> Path | None:
        """The symlink outside of the folder, where the folder's own name does not do."""
        return self.base if self.base != self.folder else None

    def make_folders(self) -> None:
        self.folder.mkdir(mode=0o755, exist_ok=True)
        if self.alias:
            _point(self.alias, self.folder)
        for name in ("bin", "etc", "gpus", "home/.slurm", "home/.ssh", "log", "run", "spool", "tmp"):
            (self.base / name).mkdir(parents=True, exist_ok=True)


def find_place(project: Path = PROJECT) -> Place:
    folder = project.resolve() / ".local"
    if len(os.fsencode(folder)) <= _LONGEST_BASE and re.fullmatch(r"[A-Za-z0-9._/+-]+", str(folder)):
        return Place(folder, folder)
    return Place(folder, Path("/tmp") / f"sky-local-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:10]}")


def _point(alias: Path, folder: Path) -> None:
    if not alias.is_symlink():
        alias.symlink_to(folder)
    if alias.lstat().st_uid != os.getuid() or alias.readlink() != folder:
        raise LocalError(f"{alias} is not ours and stands where a short name for {folder} belongs: remove it")


@dataclass(frozen=True)
class Memory:
    """What `up` chose, kept in .local/state.json: a copied or moved folder and a reboot are told by it."""

    folder: str
    boot: str
    ports: dict[str, int] = field(default_factory=dict)
    gpus: dict[str, int] = field(default_factory=dict)

    def keep(self, place: Place) -> None:
        path = place.folder / "state.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self), indent=2) + "\n")
        fresh.replace(path)


def remember(place: Place) -> Memory | None:
    try:
        return Memory(**json.loads((place.folder / "state.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@contextlib.contextmanager
def locked(project: Path = PROJECT) -> Iterator[None]:
    """One command at a time for a project: a lock on its folder, so that no lock file is left behind."""
    handle = os.open(project, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
