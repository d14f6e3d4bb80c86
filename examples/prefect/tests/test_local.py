"""The local SkyPilot, without starting any of it (test_local_server.py does)."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import __main__ as command
from local import gpus, lifecycle, login, machine, place, ports, processes, slurm
from local.place import LocalError, Memory, Place

PORTS = {"api": 46600, "ssh": 12600, "slurmctld": 16900, "slurmd-H100": 16950, "slurmd-A100": 16951}


@pytest.fixture
def here(tmp_path: Path) -> Place:
    """A furnished .local/ of a project of its own."""
    (tmp_path / "tasks").mkdir()
    found = Place(tmp_path / ".local", tmp_path / ".local")
    found.make_folders()
    return found


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


# What the node offers


@pytest.mark.parametrize(
    ("task", "asked"),
    [
        ("resources:\n  accelerators: H100:1\n", [("H100", 1)]),
        ("resources: \n  accelerators: 'A100-80GB:8'  # eight\n", [("A100-80GB", 8)]),
        ("resources:\n  accelerators: {L4: 1, a10g: 2}\n", [("L4", 1), ("A10G", 2)]),
        ("resources:\n  accelerators: [L4:1, T4]\n", [("L4", 1), ("T4", 1)]),
        ("resources:\n  accelerators:\n    H200: 8\n    B200: 4\n  cpus: 4\n", [("H200", 8), ("B200", 4)]),
        ("resources:\n  accelerators:\n  - H200:8\n  - B200:4\n  cpus: 4\n", [("H200", 8), ("B200", 4)]),
        ("resources:\n  any_of:\n    - accelerators: V100:0.5\n    - accelerators: none\n", [("V100", 1)]),
        ('resources: {infra: slurm, accelerators: "A100:2", cpus: 4}\n', [("A100", 2)]),
        ("resources: {accelerators: {L4: 1}, cpus: 4}\n", [("L4", 1)]),
        ("resources: {accelerators: T4:2, cpus: 4}\n", [("T4", 2)]),
        ("resources:\n  cpus: 2+\n  # accelerators: H100:1\n", []),
    ],
)
def test_reads_the_accelerators_of_a_task_file(task: str, asked: list[tuple[str, int]]) -> None:
    assert gpus.asked_for(task) == asked


def test_has_four_h100_and_at_least_four_of_whatever_the_tasks_ask_for(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (here.folder.parent / "tasks" / "train.yaml").write_text("resources:\n  accelerators: A100:8\n")
    (here.folder.parent / "tasks" / "eval.yaml").write_text("resources:\n  accelerators: L4:1\n")
    monkeypatch.setenv("SKY_LOCAL_GPUS", "T4:2, H100:16")
    assert gpus.wanted(here.folder.parent) == {"H100": 16, "A100": 8, "L4": 4, "T4": 2}


def test_names_the_variable_that_lists_gpus_wrongly(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKY_LOCAL_GPUS", "A100=8")
    with pytest.raises(LocalError, match="SKY_LOCAL_GPUS is 'A100=8', and would be right as NAME:COUNT"):
        gpus.wanted(here.folder.parent)


# Ports


def test_a_taken_port_moves_on_to_the_next_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not ports.free(port)
        assert port < ports.choose(["api"], {"api": port})["api"] < port + 50


def test_no_port_is_chosen_twice() -> None:
    chosen = ports.choose(["slurmd-A", "slurmd-B", "slurmd-C"], {})
    assert len({*chosen.values()}) == 3
    assert not {*chosen.values()} & {*ports.choose(["slurmd-D"], {}).values()}
    assert ports.choose([*chosen], chosen) == chosen


def test_a_variable_sets_the_preferred_port_and_a_wrong_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKY_LOCAL_API_PORT", "23456")
    assert ports.preferred("api") == 23456
    monkeypatch.setenv("SKY_LOCAL_SLURMD_PORT", "80")
    with pytest.raises(LocalError, match="SKY_LOCAL_SLURMD_PORT is '80'"):
        ports.preferred("slurmd-H100")


# Where it lies


@pytest.mark.parametrize("name", ["a project with spaces", "p" * 120, "projekt-ä"])
def test_a_deep_or_odd_folder_goes_by_a_short_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    found = place.find_place(tmp_path / name)
    found.make_folders()
    assert found.alias is not None
    try:
        assert len(str(found.base)) <= 44
        assert " " not in str(found.base)
        assert found.alias.resolve() == found.folder
        assert place.find_place(tmp_path / name) == found
    finally:
        found.alias.unlink()


def test_a_short_name_that_is_somebody_elses_is_refused(tmp_path: Path) -> None:
    stranger = tmp_path / "alias"
    stranger.symlink_to("/elsewhere")
    with pytest.raises(LocalError, match="is not ours"):
        Place(tmp_path / ".local", stranger).make_folders()


def test_remembers_what_it_chose(here: Place) -> None:
    kept = Memory(str(here.folder), place.boot_id(), PORTS, {"H100": 4})
    kept.keep(here)
    assert place.remember(here) == kept


@pytest.mark.parametrize("text", ["", "{", "[]", '{"folder": "x"}'])
def test_a_damaged_memory_is_none(here: Place, text: str) -> None:
    (here.folder / "state.json").write_text(text)
    assert place.remember(here) is None


@pytest.mark.parametrize("other", [{"folder": "/where/it/was/copied/from"}, {"boot": "before the reboot"}])
def test_nothing_is_kept_of_a_copied_folder_or_from_before_a_reboot(here: Place, other: dict[str, str]) -> None:
    (here.home / "old").touch()
    memory = Memory(**{"folder": str(here.folder), "boot": place.boot_id(), **other}, ports=PORTS)  # pyright: ignore[reportArgumentType]
    assert lifecycle._usable(here, memory) is None
    assert not here.home.exists()


def test_a_project_that_was_moved_while_it_was_up_ends_what_it_left(here: Place, tmp_path: Path) -> None:
    before = tmp_path / "where it was" / ".local"
    left = subprocess.Popen(["sleep", "60"], env={processes.MARK: str(before)})
    Memory(str(before), place.boot_id()).keep(here)
    lifecycle._stop(here)
    assert processes._identity(left.pid) is None


def test_down_where_nothing_is_up_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    lifecycle.down(tmp_path)
    assert not [*tmp_path.iterdir()]


def test_down_takes_the_setup_scripts_that_launches_left_and_no_others(here: Place) -> None:
    ours, other = (f"sky-2026-01-01-00-00-00-{uuid.uuid4().hex}" for _ in range(2))
    (here.home / "sky_logs" / ours).mkdir(parents=True)
    scripts = [Path("/tmp") / f"sky_setup_{launch}" for launch in (ours, other)]
    for script in scripts:
        script.touch()
    lifecycle._stop(here)
    assert [script.exists() for script in scripts] == [False, True]
    scripts[1].unlink()


# Which processes are ours


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


# What is written


@pytest.fixture
def packages(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if Slurm and sshd were installed, and the keys made."""
    monkeypatch.setattr(machine, "program", lambda name: f"/usr/sbin/{name}")
    monkeypatch.setattr(machine, "address", lambda: "127.0.0.1")
    monkeypatch.setattr(slurm, "version", lambda: (22, 5))
    monkeypatch.setattr(login, "uv_cache", lambda _: "/cache")
    for name in ("id", "id.pub", "host"):
        (here.base / "etc" / name).touch()


@pytest.mark.usefixtures("packages")
def test_slurm_has_a_node_for_each_type_of_gpu(here: Place) -> None:
    assert slurm.configure(here, {"H100": 4, "A100": 8}, PORTS) is True
    conf = here.slurm_conf.read_text()
    user = pwd.getpwuid(os.getuid()).pw_name
    assert f"SlurmUser={user}\n" in conf
    assert "NodeName=127.0.0.2 " in conf
    assert "Gres=gpu:a100:8 " in conf
    assert f"AuthInfo=socket={here.base}/run/munge.sock" in conf
    assert f"Type=h100 File={here.base}/gpus/h100-[0-3]" in (here.base / "etc" / "gres.conf").read_text()
    assert len([*(here.base / "gpus").iterdir()]) == 12
    assert (here.base / "etc" / "munge.key").stat().st_mode & 0o77 == 0


@pytest.mark.usefixtures("packages")
def test_slurm_is_left_alone_when_nothing_changes(here: Place) -> None:
    slurm.configure(here, {"H100": 4}, PORTS)
    assert slurm.configure(here, {"H100": 4}, PORTS) is False
    assert slurm.configure(here, {"H100": 4, "A100": 8}, PORTS) is True


@pytest.mark.usefixtures("packages")
def test_a_login_gets_a_home_of_its_own_and_the_way_to_the_network(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    login.configure(here, "/opt/uv bin/uv", 12600)
    config = (here.base / "etc" / "sshd_config").read_text()
    assert f'"HOME={here.home}"' in config
    assert '"HTTPS_PROXY=http://proxy:3128"' in config
    assert "hidden" not in config
    assert "Port 12600\nListenAddress 127.0.0.1\n" in config
    assert os.access(here.base / "bin" / "ssh", os.X_OK)
    assert "UV='/opt/uv bin/uv'" in (here.base / "etc" / "settings").read_text()


@pytest.mark.usefixtures("packages")
def test_skypilots_shared_connections_stay_in_the_folder(here: Place) -> None:
    login.configure(here, "/usr/bin/uv", 12600)
    (here.base / "etc" / "settings").write_text("SSH=echo\n")
    asked = [str(here.base / "bin" / "ssh"), "-o", "ControlPath=/tmp/sky_ssh_1234/__default__/%C", "-T", "user@127.0.0.1", "a  b"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert said == f"-F {here.base}/etc/ssh_config -o ControlPath={here.base}/run/%C -T user@127.0.0.1 a  b\n"


# What the machine must have


def test_missing_packages_without_root_or_sudo_are_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "missing_packages", lambda: ["slurm-wlm", "munge"])
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda name, path=None: "/usr/bin/apt-get" if name == "apt-get" else None)
    with pytest.raises(LocalError, match=r"^[^\n]*: sudo apt-get install -y slurm-wlm munge$"):
        machine.install_packages()


def test_nothing_is_installed_where_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "missing_packages", list[str])
    assert machine.install_packages() is False


def test_a_host_name_that_does_not_resolve_is_one_line_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> str:
        raise socket.gaierror(name)

    monkeypatch.setattr(socket, "gethostbyname", unknown)
    with pytest.raises(LocalError, match=r"does not resolve: echo '127\.0\.1\.1 "):
        machine.address()


def test_a_version_managers_stand_in_is_not_uv(here: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shim = tmp_path / "uv"
    shim.write_text("#!/bin/sh\necho uv 1.0\n")
    shim.chmod(0o755)
    real = here.folder.parent / ".uv" / "bin" / "uv"
    real.parent.mkdir(parents=True)
    shutil.copy("/bin/true", real)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(machine, "_packaged_uv", lambda: None)
    assert machine.find_uv(here) == str(real)


# The command


def test_status_of_what_is_not_up_is_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "find_place", lambda: place.find_place(tmp_path))
    assert command.main(["status"]) == 1
    assert capsys.readouterr().out == "local SkyPilot is not up: make local-up\n"


def test_what_goes_wrong_is_one_line_and_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> str:
        raise LocalError("no room")

    monkeypatch.setattr(lifecycle, "up", fail)
    assert command.main(["up"]) == 1
    assert capsys.readouterr().err == "error: no room\n"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--help"])
    said = capsys.readouterr().out
    assert all(name in said for name in ("up", "down", "stop", "restart", "status"))
