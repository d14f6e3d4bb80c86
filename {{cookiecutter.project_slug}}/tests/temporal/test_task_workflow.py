"""One task as a workflow of its own, and repositories of tasks that stay at one commit."""

from __future__ import annotations

from pathlib import Path

import pytest

from sky_orchestrate import source
from sky_orchestrate.result import TaskResult
from temporal.messages import SkyPilotWorkflowResult, SkyTaskInput
from temporal.workflows import SkyTaskWorkflow
from tests.source.conftest import Repository
from tests.temporal.conftest import Site, failed, running, until


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(source, "anyone_may_read", lambda url: False)
    made = Repository(tmp_path / "repository")
    made.commit("first")
    return made


def write_steps(repository: Repository, said: str) -> str:
    """The three steps at the repository's root; the first one takes a while."""
    for name in ("data_preprocessing", "train", "eval"):
        wait = "  sleep 30\n" if name == "data_preprocessing" else ""
        (repository.folder / f"{name}.yaml").write_text(f"name: {name}\nrun: |\n{wait}  echo {said}\n")
    return repository.commit(said)


async def test_a_task_of_a_file_leaves_no_cluster(site: Site) -> None:
    async with site.working():
        handle = await site.start(SkyTaskWorkflow.run, SkyTaskInput(yaml_path="tasks/eval.yaml"))
        result: TaskResult = await handle.result()
        memo = await (await handle.describe()).memo()
    assert result.outputs == {"accuracy": 0.97}
    assert result.cluster_name.startswith("proj-eval-")
    assert result.timings.torn_down is not None
    assert memo == {"cluster": result.cluster_name, "job": 1}


async def test_a_task_of_a_text_needs_no_file(site: Site) -> None:
    async with site.working():
        given = SkyTaskInput(yaml_content="run: echo $WHO\nenvs: {WHO: null}\n", envs_override={"WHO": "engineer"}, cluster_prefix="mine")
        result: TaskResult = await (await site.start(SkyTaskWorkflow.run, given)).result()
    assert result.cluster_name.startswith("mine-task-")
    assert "engineer" in result.log_tail


async def test_a_task_of_a_git_repository_runs_at_its_commit(site: Site, repository: Repository) -> None:
    async with site.working():
        given = SkyTaskInput(yaml_path="tasks/train.yaml", repo_url=repository.url)
        result: TaskResult = await (await site.start(SkyTaskWorkflow.run, given)).result()
    assert "first" in result.log_tail


async def test_a_branch_that_moves_during_a_run_does_not_move_the_run(site: Site, repository: Repository) -> None:
    write_steps(repository, "before")
    async with site.working():
        handle = await site.start_pipeline(repo_url=repository.url, branch="main")
        await until(lambda: running(site.sky, "data"))
        write_steps(repository, "after")
        result: SkyPilotWorkflowResult = await handle.result()
    assert all("before" in step.log_tail for step in result.steps.values())


async def test_a_file_that_is_not_there_is_one_clear_line(site: Site) -> None:
    async with site.working():
        error = await failed(await site.start(SkyTaskWorkflow.run, SkyTaskInput(yaml_path="tasks/trian.yaml")))
    assert error.type == "TaskFileError"
    assert "trian.yaml" in error.message
    assert "train.yaml" in error.message
