"""Each hostile answer is refused in one line with nothing written, or bakes to a project that holds it unchanged."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Ask, Baked, tree

from answers import QUESTIONS, markdown
from bake import bake

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CASES: dict[str, dict[str, list[Any]]] = yaml.safe_load((ROOT / "tests" / "hostile_answers.yaml").read_text(encoding="utf-8"))
RENDERED = re.compile(r"pyproject\.toml|README\.md|\.env\.example|tasks/.*\.yaml|manifests/.*")


def cases(outcome: str) -> list[Any]:
    return [
        pytest.param(question, _answers(question, entry), id=f"{question}-{number}")
        for question, entries in CASES[outcome].items()
        for number, entry in enumerate(entries)
    ]


def _answers(question: str, entry: Any) -> dict[str, str]:
    if not isinstance(entry, dict):
        return {question: entry}
    if "repeat" in entry:
        return {question: entry["repeat"] * entry["times"]}
    return {question: entry["answer"], "infra": entry["infra"]}


def test_there_are_enough_of_them() -> None:
    assert sum(len(entries) for by_question in CASES.values() for entries in by_question.values()) >= 150
    assert set(CASES["refused"]) == set(QUESTIONS)


@pytest.mark.parametrize(("question", "answers"), cases("refused"))
def test_it_is_refused_in_one_line_and_nothing_is_written(ask: Ask, question: str, answers: dict[str, str]) -> None:
    baked = ask(answers)
    assert_refused(baked, question)
    for secret in ("hunter2", "sky_token", "key:secret"):
        assert secret not in baked.output


def assert_refused(baked: Baked, question: str) -> None:
    assert not baked.traceback
    assert baked.exit_code == 1
    lines = baked.output.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"{question}: ")
    assert lines[0].isprintable()
    assert len(lines[0]) < 260
    assert baked.files() == []


@pytest.fixture(scope="module")
def default_bake(template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return tree(bake({}, tmp_path_factory.mktemp("default"), template))


@pytest.mark.parametrize(("question", "answers"), cases("baked"))
def test_it_bakes_to_a_project_that_holds_it(ask: Ask, default_bake: dict[str, bytes], question: str, answers: dict[str, str]) -> None:
    baked = ask(answers)
    assert not baked.traceback
    assert baked.exit_code == 0, baked.output
    recorded = tomllib.loads((baked.project / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["sky-orchestrate"]["answers"]
    assert recorded[question] == answers[question]
    assert_parses(baked.project)
    files = tree(baked.project)
    # Code, tests and their settings are the default's, byte for byte: they lint and pass as those do
    assert files.keys() == default_bake.keys()
    assert [name for name in files if files[name] != default_bake[name] and not RENDERED.fullmatch(name)] == []


def assert_parses(project: Path) -> None:
    for path in project.rglob("*.y*ml"):
        list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    lines = (project / ".env.example").read_text(encoding="utf-8").splitlines()
    environment = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    recorded = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["sky-orchestrate"]["answers"]
    assert environment == {
        "SKYPILOT_API_SERVER_ENDPOINT": f'"{recorded["api_server_endpoint"]}"',
        "DATA_BUCKET_URL": f'"{recorded["data_bucket_url"]}"',
    }
    readme = (project / "README.md").read_text(encoding="utf-8")
    assert readme.startswith(f"# {markdown(recorded['project_name'])}\n")
    assert len(re.findall(r"(?m)^# ", re.sub(r"(?ms)^```.*?^```$", "", readme))) == 1
    assert re.fullmatch(r"[a-z][a-z0-9-]*[a-z0-9]", project.name)
