"""The commands that reach a cluster, by ssh and rsync, as lists of arguments: no shell of this machine reads any of them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from sky_orchestrate.errors import SettingsError

# Nobody is there to answer a question, and a machine that has gone away is noticed.
_OPTIONS = ("-o", "BatchMode=yes", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4", "-o", "LogLevel=ERROR")


def ssh_command(options: Sequence[str], cluster: str, command: str) -> Sequence[str]:
    """Run `command`, a line of shell, in bash on the cluster's first node."""
    return ["ssh", "-T", *options, *_OPTIONS, _host(cluster), f"bash -c {shlex.quote(command)}"]


def rsync_up_command(options: Sequence[str], cluster: str, source: str, target: str) -> Sequence[str]:
    """Copy `source` of this machine to `target` on the cluster. Both mean what they say, whatever characters they hold."""
    return [*_rsync(options), _here(source), f"{_host(cluster)}:{_there(target)}"]


def rsync_down_command(options: Sequence[str], cluster: str, source: str, target: str) -> Sequence[str]:
    """Copy `source` on the cluster to `target` of this machine."""
    return [*_rsync(options), f"{_host(cluster)}:{_there(source)}", _here(target)]


def _rsync(options: Sequence[str]) -> list[str]:
    # --protect-args: the other end's shell does not read file names either.
    return ["rsync", "-az", "--protect-args", "-e", shlex.join(["ssh", "-T", *options, *_OPTIONS]), "--"]


def _host(cluster: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]*", cluster, re.ASCII):
        raise SettingsError(f"cluster_name is {cluster!r}, and would be right as SkyPilot's own name of a cluster")
    return cluster


def _here(path: str) -> str:
    """Absolute, so that no colon makes a host of it; rsync tells a folder from its content by the slash at the end."""
    absolute = str(Path(path).expanduser().absolute())
    return f"{absolute}/" if path.endswith("/") and absolute != "/" else absolute


def _there(path: str) -> str:
    """The home folder is where rsync starts on the other side; there is no shell to read a tilde."""
    return path.removeprefix("~/") or "." if path != "~" else "."
