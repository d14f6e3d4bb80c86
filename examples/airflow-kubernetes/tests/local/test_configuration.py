"""What is written for Slurm, sshd and the API server."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from local import login, machine, server, slurm
from local.place import Place
from tests.local.conftest import PORTS


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


@pytest.mark.parametrize(("flag", "loaded"), [("--multiprocessing-fork", "True"), ("--port=46600", "False")])
def test_the_servers_processes_have_what_launches_import(tmp_path: Path, flag: str, loaded: str) -> None:
    (tmp_path / "sky_local.pth").write_text(server._PRELOAD)
    code = "import site, sys; site.addsitedir(sys.argv[1]); print({'networkx', 'pandas'} <= sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code, tmp_path, flag], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == (loaded, "")
