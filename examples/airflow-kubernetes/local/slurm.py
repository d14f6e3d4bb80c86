"""A Slurm of one machine: munge, the controller, and one node daemon for each type of GPU."""

from __future__ import annotations

import os
import pwd
import re
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from local import machine, processes
from local.place import LocalError, Place

PARTITION = "gpus"


@dataclass(frozen=True)
class Node:
    """SkyPilot sees one type of GPU on a node. The first has the host's name; further ones have addresses, which resolve anywhere."""

    name: str
    gpu: str
    count: int
    port: int


def nodes(gpus: Mapping[str, int], ports: Mapping[str, int]) -> list[Node]:
    host = socket.gethostname().partition(".")[0]
    names = [host, *(f"127.0.0.{number}" for number in range(2, 250))]
    return [Node(name, gpu.lower(), count, ports[f"slurmd-{gpu}"]) for name, (gpu, count) in zip(names, gpus.items(), strict=False)]


def configure(place: Place, gpus: Mapping[str, int], ports: Mapping[str, int]) -> bool:
    """Write etc/slurm.conf and what goes with it; True if that changes anything."""
    key = place.base / "etc" / "munge.key"
    if not key.exists():
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
    here = nodes(gpus, ports)
    for node in here:
        for number in range(node.count):
            (place.base / "gpus" / f"{node.gpu}-{number}").touch()
    gres = "NodeName={node.name} Name=gpu Type={node.gpu} File={base}/gpus/{node.gpu}-[0-{last}]\n"
    files = {
        "gres.conf": "".join(gres.format(node=node, base=place.base, last=node.count - 1) for node in here),
        "cgroup.conf": _cgroup_conf(),
        "slurm.conf": _slurm_conf(place, here, ports["slurmctld"]),
    }
    changed = False
    for name, text in files.items():
        path = place.base / "etc" / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            changed = True
    return changed


def daemons(gpus: Mapping[str, int]) -> list[str]:
    """Their names, in the order they start."""
    return ["munged", "slurmctld", *(f"slurmd-{gpu}" for gpu in gpus)]


def start(place: Place, gpus: Mapping[str, int], ports: Mapping[str, int]) -> None:
    """Start whichever daemon is not running, and wait until every node is ready for jobs."""
    run, environment = place.base / "run", {"SLURM_CONF": str(place.slurm_conf), "PATH": machine.SYSTEM_PATH}
    commands = {
        # The folder of its socket may be closed to others (--force): every client of this one is the caller.
        "munged": ["munged", "--foreground", "--force", f"--socket={run}/munge.sock", f"--key-file={place.base}/etc/munge.key",
                   f"--pid-file={run}/munged.own", f"--seed-file={run}/munge.seed"],
        "slurmctld": ["slurmctld", "-D"],
        **{f"slurmd-{node.gpu.upper()}": ["slurmd", "-D", "-N", node.name] for node in nodes(gpus, ports)},
    }  # fmt: skip
    for name in daemons(gpus):
        if processes.running(place, name):
            continue
        program, *arguments = commands[name]
        processes.start(place, name, [machine.program(program), *arguments], environment)
        if name == "munged":
            _wait(lambda: (run / "munge.sock").exists(), "munged did not start", place, name)
    _wait(lambda: _ready(place, len(gpus)), "Slurm's node is not ready", place, "slurmctld")


def ask(place: Place, *command: str) -> str:
    """What one of Slurm's own commands says, empty if it fails."""
    environment = {**os.environ, "SLURM_CONF": str(place.slurm_conf)}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _ready(place: Place, count: int) -> bool:
    states = ask(place, "sinfo", "-h", "-N", "-o", "%t").split()
    return len(states) == count and all(state in ("idle", "mix", "alloc", "comp") for state in states)


def _wait(ready: Callable[[], bool], what: str, place: Place, log: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise LocalError(f"{what} within {seconds:.0f} s: see {place.folder}/log/{log}.log")
        time.sleep(0.05)


def _cgroup_conf() -> str:
    """Nothing here needs control groups, which a caller without root may not touch."""
    return "CgroupPlugin=disabled\n" if version() >= (24, 5) else "IgnoreSystemd=yes\n" if version() >= (22, 5) else ""


def version() -> tuple[int, int]:
    done = subprocess.run([machine.program("slurmd"), "-V"], capture_output=True, text=True, check=False)
    found = re.search(r"(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _slurm_conf(place: Place, here: list[Node], port: int) -> str:
    user, host = pwd.getpwuid(os.getuid()).pw_name, socket.gethostname().partition(".")[0]
    base, address = place.base, machine.address()
    described = "\n".join(
        f"NodeName={node.name} NodeHostname={host} NodeAddr={address} Port={node.port} Gres=gpu:{node.gpu}:{node.count} "
        "CPUs=128 RealMemory=1000000 State=UNKNOWN"
        for node in here
    )
    return f"""\
ClusterName=local
SlurmctldHost={host}({address})
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={base}/run/munge.sock
SlurmUser={user}
SlurmdUser={user}
SlurmctldPidFile={base}/run/slurmctld.own
SlurmdPidFile={base}/run/slurmd-%n.own
StateSaveLocation={base}/spool/ctld
SlurmdSpoolDir={base}/spool/%n
SlurmctldLogFile={base}/log/slurmctld.log
SlurmdLogFile={base}/log/slurmd-%n.log
TaskProlog={base}/etc/task_prolog
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
PropagateResourceLimits=NONE
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu
# The node is as large as it says, whatever the machine has, and comes back by itself after a restart.
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=0
# Jobs start and end as fast as Slurm can.
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=5
KillWait=5
{described}
PartitionName={PARTITION} Nodes=ALL Default=YES MaxTime=7-00:00:00 State=UP
"""
