"""The examples are the template's own output, byte for byte."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, tree

from bake import read_answers, renew

EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/answers.yaml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_it_is_what_the_template_makes_of_its_answers(example: Path, tmp_path: Path) -> None:
    renew(tmp_path / "fresh", read_answers(example / "answers.yaml"))
    fresh, committed = tree(tmp_path / "fresh"), tree(example)
    committed.pop("answers.yaml")
    changed = sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))
    assert changed == [], "run `make examples` and commit what it made"


@pytest.mark.e2e
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_it_works_when_copied_out_of_the_repository(example: Path, tmp_path: Path) -> None:
    copy = tmp_path / "x"
    shutil.copytree(example, copy, ignore=shutil.ignore_patterns(".venv", ".local", ".uv", ".prefect", ".temporal", ".airflow"))
    try:
        subprocess.run(["make", "test"], cwd=copy, timeout=900, check=True)
        if read_answers(example / "answers.yaml")["orchestrator"] == "airflow-kubernetes" and not shutil.which("kind"):
            pytest.skip("its tests pass; its demo makes a Kubernetes with kind, which is not installed")
        subprocess.run(["make", "demo"], cwd=copy, timeout=900, check=True)
    finally:
        subprocess.run(["make", "local-down"], cwd=copy, timeout=120, check=False)
