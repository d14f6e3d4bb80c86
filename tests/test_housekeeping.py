"""What holds the repository together: versions, prompts, targets, and what no file may hold."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

from answers import ORCHESTRATORS, QUESTIONS, inside_quotes, markdown, slugified, template_source
from bake import read_answers
from hooks.post_gen_project import KEPT

PROJECT = ROOT / "{{cookiecutter.project_slug}}"
SETTINGS: dict[str, Any] = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))


def our_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.splitlines() if (path := ROOT / name).is_file() and path.suffix != ".png"]


def test_every_question_has_a_prompt_and_a_check() -> None:
    asked = [name for name in SETTINGS if not name.startswith("_")]
    assert tuple(asked) == QUESTIONS
    assert set(SETTINGS["__prompts__"]) == set(QUESTIONS)
    assert [name for name in QUESTIONS if f"check('{name}'" not in SETTINGS[f"__{name}"]] == []
    assert set(SETTINGS["__prompts__"]["orchestrator"]) == {"__prompt__", *SETTINGS["orchestrator"]}


def test_the_orchestrators_that_can_be_chosen_are_among_those_asked() -> None:
    assert set(ORCHESTRATORS) <= set(SETTINGS["orchestrator"])
    assert ORCHESTRATORS[0] == SETTINGS["orchestrator"][0]


def test_there_is_one_version() -> None:
    version = SETTINGS["_version"]
    assert f'__version__ = "{version}"' in (PROJECT / "sky_orchestrate" / "__init__.py").read_text()
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text()
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == version


def test_no_lock_names_a_registry_and_every_requirement_is_hashed() -> None:
    sources = [path for path in PROJECT.rglob("*.in") if path.with_suffix(".txt").exists()]
    assert len(sources) >= 1 + 2 * len(ORCHESTRATORS)
    for lock in (source.with_suffix(".txt") for source in sources):
        text = lock.read_text()
        assert "://" not in text
        assert "index" not in re.sub(r"(?m)^\s*#.*$", "", text)
        for requirement in re.split(r"(?m)^(?=[a-z0-9])", text)[1:]:
            assert "--hash=sha256:" in requirement, requirement.splitlines()[0]


def test_no_override_reaches_the_local_api_server_or_the_jobs() -> None:
    for lock in (PROJECT / "local" / "requirements.txt", *(PROJECT / "workload" / "requirements").glob("*.txt")):
        assert "--override" not in lock.read_text()


def test_files_of_one_flavour_carry_its_name_in_the_table() -> None:
    flavoured = {path.name for path in PROJECT.glob("requirements*.*.*")}
    assert flavoured == {name for names in KEPT.values() for name in names if name.startswith("requirements")}


@pytest.fixture(params=["template", *ORCHESTRATORS])
def folder(request: pytest.FixtureRequest, projects: dict[str, Path]) -> Path:
    """The template, and what it makes."""
    return projects.get(request.param, ROOT)


def targets(folder: Path) -> list[str]:
    makefiles = [folder / "Makefile", *folder.glob("*.mk")]
    return [name for path in makefiles for line in re.findall(r"^\.PHONY: (.*)", path.read_text(), re.MULTILINE) for name in line.split()]


def test_help_has_one_line_for_every_target(folder: Path) -> None:
    make = subprocess.run(["make", "--no-print-directory"], cwd=folder, capture_output=True, text=True, check=True)
    helped = make.stdout.splitlines()
    assert sorted(line.split()[1] for line in helped) == sorted(targets(folder))
    assert [line for line in helped if len(line) > 120] == []


def test_help_tells_of_the_main_job_first(projects: dict[str, Path]) -> None:
    for project in projects.values():
        helped = subprocess.run(["make", "--no-print-directory"], cwd=project, capture_output=True, text=True, check=True).stdout
        assert [line.split()[1] for line in helped.splitlines()][:6] == ["help", "setup", "test", "demo", "run", "ui"]


def test_every_flavour_has_the_same_targets_but_its_own_worker_and_those_of_kubernetes(projects: dict[str, Path]) -> None:
    own = {"worker", "kind-up", "kind-down", "kubernetes-rights", "deploy-kubernetes"}
    common = {name: set(targets(project)) - own for name, project in projects.items()}
    assert all(names == common["prefect"] for names in common.values())


def test_the_lanes_know_every_flavour() -> None:
    flavours = " ".join(ORCHESTRATORS)
    assert f"FLAVOURS := $(or $(FLAVOUR),{flavours})" in (ROOT / "Makefile").read_text()
    here = " ".join(name for name in ORCHESTRATORS if name != "airflow-kubernetes")
    lanes = (ROOT / ".ci" / "run").read_text()
    assert f"for flavour in {here}; do" in lanes
    assert "lane e2e-kubernetes-smoke\n" in lanes
    assert {read_answers(path)["orchestrator"] for path in (ROOT / "examples").glob("*/answers.yaml")} == set(ORCHESTRATORS)


def test_workflows_run_make_on_a_plain_runner_and_need_no_secret(folder: Path) -> None:
    text = (folder / ".github" / "workflows" / "ci.yml").read_text()
    assert "secrets." not in text
    for job in yaml.safe_load(text)["jobs"].values():
        assert job["runs-on"].startswith("ubuntu-")
        commands = [step["run"].split() for step in job["steps"] if "run" in step]
        assert commands
        assert [command for command in commands if command[0] != "make" or command[1] not in targets(folder)] == []


@pytest.mark.parametrize("config", [ROOT, PROJECT], ids=["template", "project"])
def test_pre_commit_hooks_are_local(config: Path) -> None:
    repos = yaml.safe_load((config / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]


def test_the_images_a_readme_shows_are_there_and_small(folder: Path) -> None:
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (folder / "README.md").read_text(encoding="utf-8"))
    assert {name: (folder / name).stat().st_size for name in shown if (folder / name).stat().st_size >= 200_000} == {}
    docs = {path.relative_to(folder).as_posix() for path in (folder / "docs").glob("*.png")}
    assert docs <= set(shown)


def test_no_file_names_this_machine() -> None:
    # What follows a colon is a mount's target, in a container
    homes = re.compile(r"(?<![\w.~}:])/(?:root|work)/[\w.]+")
    found = [(path.name, match[0]) for path in our_files() if (match := homes.search(path.read_text(encoding="utf-8", errors="replace")))]
    assert found == []


def test_python_of_the_project_holds_no_jinja() -> None:
    assert [path.name for path in PROJECT.rglob("*.py") if "{{ cookiecutter" in path.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Sky Train Pipeline", "sky-train-pipeline"),
        ("Ünïcödé", "unicode"),
        ("訓練", "sky-train-pipeline"),
        ("con", "sky-con"),
        ("9 lives", "sky-9-lives"),
        ("x", "sky-x"),
        ("--help", "help"),
        ("x" * 80, "x" * 40),
        ("a" * 39 + " b", "a" * 39),
    ],
)
def test_any_name_gives_a_valid_slug(name: str, slug: str) -> None:
    assert slugified(name) == slug


@pytest.mark.parametrize(
    ("template", "source"),
    [
        ("gh:owner/repo", "gh:owner/repo"),
        ("https://host/owner/repo.git", "https://host/owner/repo.git"),
        ("https://me:token@host/repo", "https://host/repo"),
        ("git@host:owner/repo", "git@host:owner/repo"),
        ("ssh://git@host/repo", "ssh://git@host/repo"),
        (".", ""),
        ("/srv/templates/sky", ""),
        ("../sky", ""),
        ("C:\\templates\\sky", ""),
        ("file:///srv/sky", ""),
    ],
)
def test_the_template_is_remembered_where_it_can_be_had_again(template: str, source: str) -> None:
    assert template_source(template) == source


def test_text_inside_quotes_is_the_same_in_json_and_yaml() -> None:
    text = "\"\\\x7f\x00\x1f\n\t'{{é👩\u200c"
    assert json.loads(f'"{inside_quotes(text)}"') == text
    assert yaml.safe_load(f'"{inside_quotes("a: b # c")}"') == "a: b # c"


def test_markdown_shows_a_name_as_it_is() -> None:
    assert markdown("a *b* <c> [d](e)\n# f") == r"a \*b\* \<c\> \[d\]\(e\) \# f"
