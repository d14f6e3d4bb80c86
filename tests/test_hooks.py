"""The hooks as code: what is pruned, what is renamed, and what is said at the end."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT

from answers import ORCHESTRATORS


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "hooks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def hook() -> ModuleType:
    return load("post_gen_project")


def test_every_orchestrator_that_can_be_chosen_has_its_table(hook: ModuleType) -> None:
    assert set(hook.KEPT) == set(ORCHESTRATORS)


@pytest.mark.parametrize("orchestrator", ORCHESTRATORS)
def test_the_table_names_only_what_the_template_has(hook: ModuleType, orchestrator: str) -> None:
    project = ROOT / "{{cookiecutter.project_slug}}"
    assert [name for name in hook.KEPT[orchestrator] if not (project / name).exists()] == []


def test_other_orchestrators_files_go_and_its_own_are_renamed(hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"one": {"lock.one.txt": "lock.txt", "flows": "flows"}, "two": {"lock.two.txt": "lock.txt", "dags": "dags"}}
    monkeypatch.setattr(hook, "KEPT", table)
    for folder in ("flows", "dags", "core"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "code.py").touch()
    for name in ("one", "two"):
        (tmp_path / f"lock.{name}.txt").write_text(name)
    hook.prune(tmp_path, "two")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["core", "dags", "lock.txt"]
    assert (tmp_path / "lock.txt").read_text() == "two"


def test_caches_of_the_templates_folder_go_and_what_is_installed_stays(hook: ModuleType, tmp_path: Path) -> None:
    for name in ("core/__pycache__", ".pytest_cache", ".ruff_cache/1", ".venv/lib/__pycache__", ".local/run"):
        (tmp_path / name).mkdir(parents=True)
    hook.prune(tmp_path, "prefect")
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    assert left == [".local", ".local/run", ".venv", ".venv/lib", ".venv/lib/__pycache__", "core"]


def test_a_link_is_removed_and_not_what_it_leads_to(hook: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    hook.remove(tmp_path / "link")
    assert (tmp_path / "outside").is_dir()
    assert not (tmp_path / "link").exists()


def test_the_next_commands_start_where_the_caller_is(hook: ModuleType, tmp_path: Path) -> None:
    assert "cd my-project\n" in hook.next_commands(tmp_path / "my-project", tmp_path)
    assert f"cd '{tmp_path}/a b'\n" in hook.next_commands(tmp_path / "a b", tmp_path / "elsewhere")
    assert len(hook.next_commands(tmp_path / "my-project", tmp_path).strip().splitlines()) == 4
