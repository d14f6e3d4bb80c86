"""`make upgrade` on a project of an older template, with user edits in place."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT, tree

from bake import bake

ANSWERS = {
    "project_name": '{{7*7}} {% x %} "quoted" «имя» {#',
    "infra": "slurm/local",
    "accelerator": "A100:8",
    "data_bucket_url": "s3://bucket/x=1",
}


@dataclass(frozen=True)
class Upgraded:
    before: dict[str, bytes]
    after: dict[str, bytes]
    project: Path
    output: str


def older_template(template: Path, tmp_path: Path) -> Path:
    """The template as it may have been a version ago: other code in the vendored folders, an other Makefile, a file fewer."""
    older = tmp_path / "older"
    shutil.copytree(template, older)
    project = older / "{{cookiecutter.project_slug}}"
    (project / "sky_orchestrate" / "gone.py").write_text("GONE = True\n")
    (project / "sky_orchestrate" / "naming.py").write_text("OLD = True\n")
    (project / "Makefile").write_text((project / "Makefile").read_text().replace("help:  ## this list", "help:  ## the list"))
    (project / ".pre-commit-config.yaml").unlink()
    settings = json.loads((older / "cookiecutter.json").read_text())
    (older / "cookiecutter.json").write_text(json.dumps({**settings, "_version": "0.0.9"}))
    return older


def make_upgrade(project: Path, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sky_orchestrate.upgrade", *arguments],
        cwd=project,
        env={**os.environ, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def upgraded(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Upgraded:
    tmp_path = tmp_path_factory.mktemp("upgrade")
    project = bake(ANSWERS, tmp_path, older_template(template, tmp_path))
    with (project / "tasks" / "train.yaml").open("a") as task:
        task.write("# mine\n")
    (project / "flows" / "mine.py").write_text("MINE = True\n")
    (project / ".env").write_text("SKY_ORCHESTRATE_INFRA=aws\n")
    before = tree(project)
    home = tmp_path / "home"
    home.mkdir()
    done = make_upgrade(project, "--template", str(template), home=home)
    assert done.returncode == 0, done.stderr
    assert list(home.iterdir()) == []
    return Upgraded(before, tree(project), project, done.stdout)


def vendored(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: text for name, text in files.items() if name.split("/")[0] in ("sky_orchestrate", "local")}


def test_the_vendored_folders_are_the_new_templates(upgraded: Upgraded, template: Path, tmp_path: Path) -> None:
    assert vendored(upgraded.after) == vendored(tree(bake(ANSWERS, tmp_path, template)))
    assert "sky_orchestrate/gone.py" not in upgraded.after


def test_everything_else_stays_as_the_user_left_it(upgraded: Upgraded) -> None:
    own = {name: text for name, text in upgraded.after.items() if not name.startswith(".upgrade/")}
    assert {name: text for name, text in own.items() if name not in vendored(own)} == {
        name: text for name, text in upgraded.before.items() if name not in vendored(upgraded.before)
    }


def test_what_else_differs_is_shown(upgraded: Upgraded) -> None:
    assert "0.1.0 (the project was baked of 0.0.9)" in upgraded.output
    assert "+help:  ## this list" in upgraded.output
    assert "-help:  ## the list" in upgraded.output
    assert "+++ b/.pre-commit-config.yaml" in upgraded.output
    assert "-# mine" in upgraded.output
    # the answers come back as they were given, so no line of them differs
    assert not re.search(r"^[+-](project_name|infra|accelerator|data_bucket_url) ", upgraded.output, re.MULTILINE)


def test_what_was_replaced_is_kept(upgraded: Upgraded) -> None:
    assert (upgraded.project / ".upgrade" / "before" / "sky_orchestrate" / "naming.py").read_text() == "OLD = True\n"


def test_the_differences_can_be_taken_as_a_patch(upgraded: Upgraded, template: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(upgraded.project, copy)
    subprocess.run(["git", "apply", ".upgrade/changes.diff"], cwd=copy, check=True)
    fresh = tree(bake(ANSWERS, tmp_path, template))
    assert {name: text for name, text in tree(copy).items() if name in fresh} == fresh


def test_a_second_upgrade_changes_nothing_more(upgraded: Upgraded, template: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(upgraded.project, copy)
    assert make_upgrade(copy, "--template", str(template), home=tmp_path).returncode == 0
    after = {name: text for name, text in tree(copy).items() if not name.startswith(".upgrade/")}
    assert after == {name: text for name, text in upgraded.after.items() if not name.startswith(".upgrade/")}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "say where the template is"),
        (("--template", "/nowhere/at/all"), "could not be baked"),
    ],
)
def test_what_cannot_be_done_is_one_line(upgraded: Upgraded, tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    before = tree(upgraded.project)
    done = make_upgrade(upgraded.project, *arguments, home=tmp_path)
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert tree(upgraded.project) == before


def test_a_project_that_tells_not_what_it_was_baked_of_is_refused(upgraded: Upgraded, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(upgraded.project, copy)
    (copy / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    done = make_upgrade(copy, "--template", str(ROOT), home=tmp_path)
    assert done.returncode == 1
    assert "[tool.sky-orchestrate]" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
