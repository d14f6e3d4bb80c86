"""What the machine must have, and what the command says."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from local import __main__ as command
from local import lifecycle, machine, place
from local.place import LocalError, Place


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
