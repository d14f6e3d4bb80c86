"""up, down, stop and restart: the order of things."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from local import gpus, login, machine, ports, processes, runtime, server, slurm
from local.place import PROJECT, LocalError, Memory, Place, boot_id, find_place, locked, remember


def up(project: Path = PROJECT) -> str:
    """Start what is not running, and return the endpoint."""
    with locked(project):
        place = find_place(project)
        wanted = gpus.wanted(project)
        memory = _usable(place, remember(place))
        if memory and memory.gpus == wanted and is_up(place, memory):
            return endpoint(memory)
        return endpoint(_start(place, wanted, memory))


def down(project: Path = PROJECT) -> None:
    """Stop everything and remove every file."""
    with locked(project):
        place = find_place(project)
        _stop(place)
        shutil.rmtree(place.folder, ignore_errors=True)
        if place.folder.exists():
            raise LocalError(f"{place.folder} could not be removed wholly: is a file of it another user's?")
        if place.alias and place.alias.is_symlink():
            place.alias.unlink()


def stop(project: Path = PROJECT) -> None:
    """Stop everything and remove all but the API server's environment, from which the next start is quick without a network."""
    with locked(project):
        place = find_place(project)
        _stop(place)
        _empty(place, keep="venv")


def restart(project: Path = PROJECT) -> str:
    """Restart the API server alone; Slurm and its jobs go on."""
    with locked(project):
        place = find_place(project)
        memory = _usable(place, remember(place))
        if memory is None:
            raise LocalError("the local SkyPilot is not up: make local-up")
        processes.stop(place, "api")
        return endpoint(_start(place, memory.gpus, memory))


def is_up(place: Place, memory: Memory) -> bool:
    names = [*slurm.daemons(memory.gpus), "sshd", "api", *(["stem"] if runtime.prefork() else [])]
    return all(processes.running(place, name) for name in names) and server.healthy(memory.ports["api"])


def endpoint(memory: Memory) -> str:
    return f"http://127.0.0.1:{memory.ports['api']}"


def _start(place: Place, wanted: Mapping[str, int], memory: Memory | None) -> Memory:
    machine.install_packages()
    place.make_folders()
    uv = machine.find_uv(place)
    memory = _settle(place, wanted, memory)
    environment = login.environment(place, uv)
    server.build(place, uv)
    runtime.configure(place)
    server.configure(place)
    server.pack_wheel(place)
    login.configure(place, uv, memory.ports["ssh"])
    if slurm.configure(place, memory.gpus, memory.ports):
        for name in reversed(slurm.daemons(memory.gpus)):
            processes.stop(place, name)
        server.forget_nodes(place)
    slurm.start(place, memory.gpus, memory.ports)
    login.start(place)
    started = server.start(place, memory.ports["api"], environment)
    server.wait(place, memory.ports["api"])
    runtime.start(place, environment)
    if started:
        server.warm_up(place, memory.ports["api"])
    _write_env(place, memory)
    return memory


def _settle(place: Place, wanted: Mapping[str, int], memory: Memory | None) -> Memory:
    """Ports for everything, those of running daemons as they are."""
    remembered = memory.ports if memory else {}
    names = ["api", "ssh", "slurmctld", *(f"slurmd-{gpu}" for gpu in wanted)]
    daemon = {"ssh": "sshd"}
    kept = {name: remembered[name] for name in names if name in remembered and processes.running(place, daemon.get(name, name))}
    chosen = kept | ports.choose([name for name in names if name not in kept], remembered, taken=set(kept.values()))
    settled = Memory(str(place.folder), boot_id(), chosen, dict(wanted))
    settled.keep(place)
    return settled


def _usable(place: Place, memory: Memory | None) -> Memory | None:
    """What is remembered, unless the machine was restarted or the folder copied or moved since: then nothing of it holds."""
    if memory is None or (memory.folder == str(place.folder) and memory.boot == boot_id()):
        return memory
    _stop(place)
    _empty(place, keep="venv" if memory.folder == str(place.folder) else "")
    return None


def _stop(place: Place) -> None:
    left = processes.stop_all(place.folder)
    memory = remember(place)
    if memory and not Path(memory.folder).exists():  # the project was moved while it was up
        left |= processes.stop_all(Path(memory.folder))
    if left:
        raise LocalError(f"these processes would not end: {' '.join(map(str, sorted(left)))}")
    _forget_connections(place)
    _forget_setups(place)


def _empty(place: Place, *, keep: str) -> None:
    for path in place.folder.iterdir() if place.folder.exists() else ():
        if path.name != keep:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _forget_connections(place: Place) -> None:
    """SkyPilot makes a folder under /tmp for shared connections, though ours lie elsewhere: the empty ones are ours to remove."""
    users = {path.name for path in (place.folder / "home" / ".sky" / "clients").glob("*")}
    own = place.folder / "home" / ".sky" / "user_hash"
    users |= {own.read_text().strip()} if own.exists() else set()
    for user in users:
        folder = Path("/tmp") / f"sky_ssh_{user}"
        for path in [*folder.glob("*/"), folder]:
            try:
                path.rmdir()
            except OSError:
                continue


def _forget_setups(place: Place) -> None:
    """SkyPilot leaves a launch's setup script under the cluster's /tmp, which is this machine's, named like the launch's log folder."""
    for launch in (place.folder / "home" / "sky_logs").glob("sky-*"):
        (Path("/tmp") / f"sky_setup_{launch.name}").unlink(missing_ok=True)


def _write_env(place: Place, memory: Memory) -> None:
    (place.folder / "env").write_text(
        f"SKYPILOT_API_SERVER_ENDPOINT={endpoint(memory)}\nSKY_ORCHESTRATE_INFRA=slurm/local\nSKY_ORCHESTRATE_LOCAL=1\n"
    )
