"""The bake matrix: every orchestrator on every kind of infra, with and without GPUs, parses and lints; SkyPilot reads its tasks."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, tree

from answers import ORCHESTRATORS
from bake import bake

ON = [
    ("k8s", "H100:1"),
    ("k8s/kind-sky", "none"),
    ("slurm/local", "H100:1"),
    ("aws/us-east-1", "A100-80GB:8"),
    ("gcp", "none"),
    ("azure/eastus/1", "T4:1"),
]
MATRIX = [pytest.param(orchestrator, infra, accelerator) for orchestrator in ORCHESTRATORS for infra, accelerator in ON]


# The template's own environment is the default orchestrator's; the others' are their bakes'.
ENVIRONMENTS = {name: ROOT / ".build" / name / "sky-train-pipeline" / ".venv" for name in ORCHESTRATORS[1:]}
ENVIRONMENTS[ORCHESTRATORS[0]] = Path(sys.prefix)


def run(project: Path, *command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=project, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("orchestrator", "infra", "accelerator"), MATRIX)
def test_its_tasks_ask_for_what_was_answered(template: Path, tmp_path: Path, orchestrator: str, infra: str, accelerator: str) -> None:
    project = bake({"orchestrator": orchestrator, "infra": infra, "accelerator": accelerator}, tmp_path, template)
    tasks = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in (project / "tasks").glob("*.yaml")}
    assert set(tasks) == {"data_preprocessing", "train", "eval"}
    for name, task in tasks.items():
        resources: dict[str, Any] = task["resources"]
        assert resources["infra"] == infra
        wanted = None if name == "data_preprocessing" or accelerator == "none" else accelerator
        assert resources.get("accelerators") == wanted
    rendered = {name: text for name, text in tree(project).items() if name.endswith((".yaml", ".toml", ".md", ".example"))}
    assert [name for name, text in rendered.items() if b"{{ cookiecutter" in text or b"{%" in text] == []


def test_caches_in_the_templates_folder_are_not_baked(template: Path, tmp_path: Path) -> None:
    copy = tmp_path / "template"
    shutil.copytree(template, copy)
    for name in (".ruff_cache/0.1", "__pycache__", "sky_orchestrate/__pycache__", ".pytest_cache"):
        folder = copy / "{{cookiecutter.project_slug}}" / name
        folder.mkdir(parents=True)
        (folder / "binary").write_bytes(b"\x89{{ no.jinja ")
    assert tree(bake({}, tmp_path, copy)) == tree(bake({}, tmp_path / "clean", template))
    assert not list((tmp_path / "sky-train-pipeline").rglob("binary"))


@pytest.mark.parametrize("orchestrator", ORCHESTRATORS)
def test_it_is_clean_in_style_and_types(template: Path, tmp_path: Path, orchestrator: str) -> None:
    environment = ENVIRONMENTS[orchestrator]
    if not (environment / "bin" / "python").exists():
        pytest.skip(f"the environment of {orchestrator} is not there; `make lint` makes it, and looks at the same")
    project = bake({"orchestrator": orchestrator}, tmp_path, template)
    (project / ".venv").symlink_to(environment)
    run(project, "ruff", "check", "--no-cache", ".")
    run(project, "ruff", "format", "--no-cache", "--check", ".")
    run(project, "basedpyright", "--level", "error")


# What has to do with one orchestrator alone, by its files' names, imports and words
TRACES = {
    "prefect": re.compile(r"prefect|\bflows?\b", re.IGNORECASE),
    "temporal": re.compile(r"temporal(?!ly)|run_work(er|flow)\b", re.IGNORECASE),
    "airflow": re.compile(r"(?i:airflow)|\b(dag|DAG)s?\b"),
}
# Airflow's two flavours share their words: here it is what only the one has.
TWINS = {
    "airflow": [re.compile(r"(?i:airflow_pods)|SkyPod|KubernetesPodOperator|cncf")],
    "airflow-kubernetes": [re.compile(r"(?i:docker-compose)|SkyTaskOperator|SkyHook|apache_airflow_provider|conn_id=|skypilot_default")],
}
# Lists of what stays behind, the same in every flavour
SHARED_LISTS = {".gitignore", ".skyignore", "tests/e2e/processes.py"}
# The core is the same in every flavour, and its texts may give an example of one
CORE = "sky_orchestrate/"


@pytest.mark.parametrize("orchestrator", ORCHESTRATORS)
def test_nothing_of_another_orchestrator_remains(projects: dict[str, Path], orchestrator: str) -> None:
    files = {name: text.decode(errors="replace") for name, text in tree(projects[orchestrator]).items() if name not in SHARED_LISTS}
    ours = {name: text for name, text in files.items() if not name.startswith(CORE)}
    own = orchestrator.split("-")[0]
    for trace in (*(trace for other, trace in TRACES.items() if other != own), *TWINS.get(orchestrator, ())):
        assert [name for name in files if trace.search(name)] == []
        assert {name: found[0] for name, text in ours.items() if (found := trace.search(text))} == {}


@pytest.mark.parametrize(("infra", "accelerator"), [("gcp", "none"), ("slurm/local", "A100-80GB:8")])
def test_its_task_tests_pass_on_other_answers_too(template: Path, tmp_path: Path, infra: str, accelerator: str) -> None:
    run(bake({"infra": infra, "accelerator": accelerator}, tmp_path, template), "pytest", "-q", "tests/test_tasks.py")
