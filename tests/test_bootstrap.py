"""local/uv.sh on machines that lack things: it helps itself, or says in one line what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

SCRIPT = ROOT / "{{cookiecutter.project_slug}}" / "local" / "uv.sh"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder whose bin/ is all of PATH: a few tools, and neither Python nor uv."""
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "id", "rm", "mkdir", "cp", "env"):
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / "bin" / tool).symlink_to(found)
    return tmp_path


def install(machine: Path, name: str, script: str) -> None:
    program = machine / "bin" / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def run(machine: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PYTHON", "VIRTUAL_ENV"))}
    environment |= {"PATH": str(machine / "bin"), "HOME": str(machine)}
    return subprocess.run([SCRIPT, *arguments], cwd=machine, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_uv_on_the_path_is_used_with_the_systems_certificates(machine: Path) -> None:
    install(machine, "uv", 'echo "$UV_SYSTEM_CERTS $UV_NATIVE_TLS $*"')
    done = run(machine, "pip", "list")
    assert done.stdout == "1 1 pip list\n"
    assert not (machine / ".uv").exists()


def test_a_uv_put_here_before_is_used_again(machine: Path) -> None:
    (machine / ".uv" / "bin").mkdir(parents=True)
    install(machine, "../.uv/bin/uv", 'echo "own $*"')
    assert run(machine, "--version").stdout == "own --version\n"


def test_a_uv_that_does_not_run_is_none(machine: Path) -> None:
    install(machine, "uv", "exit 127")
    (machine / ".uv" / "bin").mkdir(parents=True)
    install(machine, "../.uv/bin/uv", 'echo "own $*"')
    assert run(machine, "--version").stdout == "own --version\n"


def test_python_is_named(machine: Path) -> None:
    (machine / "bin" / "python3").symlink_to(sys.executable)
    assert Path(run(machine, "--python").stdout.strip()).resolve() == Path(sys.executable).resolve()


@pytest.mark.parametrize("python", [None, "case $1 in --version) echo Python 3.9.2;; *) exit 1;; esac"], ids=["none", "old"])
def test_without_python_it_says_so_in_one_line(machine: Path, python: str | None) -> None:
    if python:
        install(machine, "python3", python)
    done = run(machine, "--version")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: Python 3.10 or newer is needed")
    assert "PYTHON=/path/to/python3" in done.stderr


def test_without_venv_and_without_a_way_to_install_it_the_command_is_named(machine: Path) -> None:
    install(
        machine, "python3", 'case "$*" in *ensurepip*) exit 1;; *sys.executable*) echo python3;; *python%d*) echo python3.11-venv;; esac'
    )
    done = run(machine, "pip", "list")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "error: uv is not here and neither is Python's venv module: run 'sudo apt-get install python3-venv'"
    )
    assert not (machine / ".uv").exists()
