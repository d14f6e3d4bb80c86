"""Ports: each has a preferred number, which a variable can set, and moves on to the next free one where that is taken."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence, Set

from local.place import LocalError

PREFERRED = {"api": 46600, "ssh": 12600, "slurmctld": 16900, "slurmd": 16950}
# Held until this process ends: two projects that start at once do not choose the same port.
_claims: dict[int, socket.socket] = {}


def choose(names: Sequence[str], remembered: Mapping[str, int], *, taken: Set[int] = frozenset()) -> dict[str, int]:
    """A free port for each name, the remembered one first."""
    chosen: dict[str, int] = {}
    for name in names:
        start = remembered.get(name) or preferred(name)
        again = remembered.get(name, 0)
        left = (port for port in range(start, min(start + 400, 65535)) if port not in {*taken, *chosen.values()})
        port = next((port for port in left if _claim(port, again=port == again)), None)
        if port is None:
            raise LocalError(f"no free port for {name} from {start} on: name another with {_variable(name)}")
        chosen[name] = port
    return chosen


def preferred(name: str) -> int:
    variable = _variable(name)
    text = os.environ.get(variable) or str(PREFERRED[name.partition("-")[0]])
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1024 <= int(text) <= 65000:
        raise LocalError(f"{variable} is {text!r}, and would be right as a number from 1024 to 65000")
    return int(text)


def _variable(name: str) -> str:
    return f"SKY_LOCAL_{name.partition('-')[0].upper()}_PORT"


def free(port: int) -> bool:
    for address in ("127.0.0.1", "0.0.0.0"):  # noqa: S104  # tried, and closed at once
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True


def _claim(port: int, *, again: bool) -> bool:
    """Free, and nobody else's choice: a name in the kernel's abstract namespace, which leaves no file. `again`: what was ours stays so."""
    if not free(port):
        return False
    if port in _claims:
        return again
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind(f"\0sky-local-port-{port}")
    except OSError:
        claim.close()
        return False
    _claims[port] = claim
    return True
