"""The command on a server in memory, with a project and a task of the test's own."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from sky_orchestrate.client import Client
from sky_orchestrate.result import Pace
from sky_orchestrate.settings import load_settings
from tests.fake_sky import FakeServer

ROOT = Path(__file__).resolve().parents[2]
cli = importlib.import_module("sky_orchestrate.__main__")
QUICK = Pace(retry=0.01, poll=(0.01, 0.02), health=(0.01, 0.02), lost_after=0.5, lost_poll=0.05, teardown=2)


@pytest.fixture(autouse=True)
def another_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this project's .env says, here there is none."""
    run_state = "SKY_ORCHESTRATE_RUN_STATE"
    monkeypatch.setattr(cli, "load_settings", lambda: load_settings({run_state: os.environ.get(run_state, "")}, root=tmp_path))


@pytest.fixture
def task(tmp_path: Path) -> Callable[..., str]:
    def write(*run: str, more: str = "") -> str:
        path = tmp_path / "train.yaml"
        script = "\n  ".join(run or ["echo hello"])
        path.write_text(f"name: train\n{more}run: |\n  {script}\n")
        return str(path)

    return write


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def call(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., tuple[int, str, str]]]:
    def main(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(arguments, connect=lambda _: cast("Client", server.client()), pace=QUICK)
        said = capsys.readouterr()
        return code, said.out, said.err

    yield main
    assert server.left == []


Call = Callable[..., tuple[int, str, str]]
Write = Callable[..., str]
