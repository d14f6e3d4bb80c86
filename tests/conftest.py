"""Baking in tests: as the command line does it, in this process, with a home folder of the test's own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cookiecutter import prompt
from cookiecutter.cli import main as cookiecutter_command

from answers import ORCHESTRATORS
from bake import bake

ROOT = Path(__file__).resolve().parent.parent
CACHES = ("__pycache__", ".pytest_cache", ".ruff_cache")


@dataclass(frozen=True)
class Baked:
    """What `cookiecutter` did: its exit code, what it said, and the one folder that anything may be in."""

    exit_code: int
    output: str
    traceback: bool
    world: Path

    @property
    def project(self) -> Path:
        (project,) = (self.world / "out").iterdir()
        return project

    def files(self) -> list[str]:
        """Everything that is there now and was not before."""
        before = ("config.yaml", "home", "out")
        return sorted(str(path.relative_to(self.world)) for path in self.world.rglob("*") if path.name not in before)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as it is now, in a folder that nobody edits or leaves caches in meanwhile."""
    copy = tmp_path_factory.mktemp("template")
    for name in ("hooks", "{{cookiecutter.project_slug}}"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns(*CACHES))
    for name in ("cookiecutter.json", "answers.py", "accelerators.csv"):
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="session")
def projects(template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The default project of each orchestrator, for tests that only look."""
    return {name: bake({"orchestrator": name}, tmp_path_factory.mktemp(name), template) for name in ORCHESTRATORS}


Ask = Callable[[Mapping[str, Any]], Baked]


@pytest.fixture
def ask(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Type these answers at the prompts, and the default at the others."""
    world = tmp_path / "world"
    for folder in ("home", "out"):
        (world / folder).mkdir(parents=True)
    config = world / "config.yaml"
    config.write_text(f'{{cookiecutters_dir: "{world}/home/templates", replay_dir: "{world}/home/replay"}}')
    monkeypatch.setenv("HOME", str(world / "home"))
    monkeypatch.chdir(world)

    def asked(answers: Mapping[str, Any]) -> Baked:
        def typed(question: str, default: Any, *_: Any) -> Any:
            return answers.get(question, default)

        def chosen(question: str, options: list[Any], *_: Any) -> Any:
            return answers.get(question, options[0])

        monkeypatch.setattr(prompt, "read_user_variable", typed)
        monkeypatch.setattr(prompt, "read_user_choice", chosen)
        result = CliRunner().invoke(cookiecutter_command, [str(template), "--config-file", str(config), "--output-dir", str(world / "out")])
        crashed = result.exception is not None and not isinstance(result.exception, SystemExit)
        return Baked(result.exit_code, result.output, crashed, world)

    return asked


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, but what running the project leaves there."""
    made = (".venv", ".uv", ".local", ".prefect", ".temporal", ".airflow", *CACHES)
    files = (path for path in folder.rglob("*") if path.is_file() and not set(made) & set(path.relative_to(folder).parts))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
