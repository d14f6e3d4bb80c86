"""What of a repository a task may name, and how it reaches the cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from sky_orchestrate import source
from sky_orchestrate.errors import TaskFileError
from sky_orchestrate.launch_config import launch_config
from sky_orchestrate.settings import Settings
from sky_orchestrate.task import load_task
from tests.source.conftest import Repository


def test_the_digest_stays_while_a_branch_moves_and_changes_with_the_ref(repository: Repository, settings: Settings) -> None:
    def digest(ref: str) -> str:
        return load_task("tasks/train.yaml", base_path=repository.url, git_ref=ref, settings=settings).digest

    before = digest("main")
    repository.git("branch", "other")
    repository.git("commit", "--quiet", "--allow-empty", "--message", "nothing")
    assert digest("main") == before != digest("other")


def test_a_public_https_repository_is_fetched_by_the_cluster_at_the_commit(
    repository: Repository, settings: Settings, on_https: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = load_task("tasks/train.yaml", base_path=on_https, settings=settings)
    monkeypatch.setattr(source, "anyone_may_read", lambda url: True)
    public = load_task("tasks/train.yaml", base_path=on_https, settings=settings)
    assert private.config["workdir"] == "."
    assert public.config["workdir"] == {"url": on_https, "ref": repository.git("rev-parse", "HEAD")}
    assert public.digest == private.digest


def test_any_other_repository_is_uploaded_from_here(repository: Repository, settings: Settings) -> None:
    task = load_task("tasks/train.yaml", base_path=repository.url, settings=settings)
    workdir = Path(launch_config(task, job_name="job", labels={})["workdir"])
    assert (workdir / "src" / "train.py").read_text() == "print('first')\n"


def test_a_folder_of_a_public_repository_is_uploaded_too(
    repository: Repository, settings: Settings, on_https: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit("first", workdir="./src")
    monkeypatch.setattr(source, "anyone_may_read", lambda url: True)
    task = load_task("tasks/train.yaml", base_path=on_https, settings=settings)
    assert (Path(launch_config(task, job_name="job", labels={})["workdir"]) / "train.py").is_file()


def test_inline_text_may_stand_on_a_repository(repository: Repository, settings: Settings) -> None:
    task = load_task(yaml_text="name: inline\nworkdir: src\nrun: python train.py\n", base_path=repository.url, settings=settings)
    assert task.root is not None
    assert (task.root / "src" / "train.py").is_file()


@pytest.mark.parametrize(("path", "workdir"), [("../outside.yaml", "."), ("tasks/train.yaml", "../.."), ("/etc/hostname", ".")])
def test_nothing_outside_the_repository_is_taken(repository: Repository, settings: Settings, path: str, workdir: str) -> None:
    repository.commit("first", workdir=workdir)
    with pytest.raises(TaskFileError, match="leads out of the repository"):
        load_task(path, base_path=repository.url, settings=settings)


def test_a_link_out_of_the_repository_is_not_followed(repository: Repository, settings: Settings) -> None:
    (repository.folder / "src.yaml").symlink_to("/etc/hostname")
    repository.commit("first")
    with pytest.raises(TaskFileError, match="leads out of the repository"):
        load_task("src.yaml", base_path=repository.url, settings=settings)


def test_a_missing_file_is_told_with_the_repository_and_commit(repository: Repository, settings: Settings) -> None:
    with pytest.raises(TaskFileError, match=r"tasks/eval.yaml of file://.* at main \([0-9a-f]{10}\): no such file; tasks/ has train.yaml"):
        load_task("tasks/eval.yaml", base_path=repository.url, git_ref="main", settings=settings)
