"""Bake a project from this folder, for the tests, the examples and the Makefile: `python bake.py FOLDER [ANSWERS.yaml] [NAME=ANSWER ...]`.

FOLDER becomes the project. What is installed or set up there (.venv, .local and the like) stays, so that a second run is warm.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from cookiecutter.main import cookiecutter

ROOT = Path(__file__).resolve().parent
STAYS = (".venv", ".uv", ".local", ".prefect", ".temporal", ".airflow", ".env", "answers.yaml")


def bake(answers: Mapping[str, Any], into: Path, template: Path = ROOT) -> Path:
    """A fresh project in `into`, which must not have one of the same name; nothing is written elsewhere."""
    # cookiecutter renders answers that were not typed, and none is meant as Jinja
    literal = {name: str(answer).replace("{", '{{ "{" }}') for name, answer in answers.items()}
    with tempfile.TemporaryDirectory() as own:
        config: Any = {"cookiecutters_dir": f"{own}/templates", "replay_dir": f"{own}/replay"}
        return Path(cookiecutter(str(template), no_input=True, extra_context=literal, output_dir=str(into), default_config=config))


def renew(folder: Path, answers: Mapping[str, Any]) -> None:
    """Make `folder` the project of these answers."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        project = bake(answers, Path(temporary))
        for old in folder.iterdir():
            if old.name not in STAYS:
                shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
        for new in project.iterdir():
            new.rename(folder / new.name)


def read_answers(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def answers_of(arguments: Sequence[str]) -> dict[str, Any]:
    """Answers as the command line has them, a file of them or NAME=ANSWER; later ones hold."""
    answers: dict[str, Any] = {}
    for argument in arguments:
        name, given, answer = argument.partition("=")
        answers |= {name: answer} if given else read_answers(Path(argument))
    return answers


if __name__ == "__main__":
    renew(Path(sys.argv[1]), answers_of(sys.argv[2:]))
