"""Which commit a branch, tag or commit of a repository is, and which URLs are asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from sky_orchestrate import source
from sky_orchestrate.errors import TaskFileError
from sky_orchestrate.settings import Settings
from sky_orchestrate.task import TaskSpec, load_task
from tests.source.conftest import NO_ACCESS, Repository


def runs(task: TaskSpec) -> str:
    return str(task.config["run"]).removeprefix("echo ")


@pytest.mark.parametrize("ref", ["", "main", "v1", "annotated", "COMMIT", "SHORT"])
def test_a_repository_is_taken_at_a_branch_tag_or_commit(repository: Repository, settings: Settings, ref: str) -> None:
    first = repository.git("rev-parse", "HEAD")
    repository.git("tag", "v1")
    repository.git("tag", "--annotate", "--message", "x", "annotated")
    second = repository.commit("second")
    task = load_task(
        "tasks/train.yaml", base_path=repository.url, git_ref=ref.replace("COMMIT", first).replace("SHORT", first[:9]), settings=settings
    )
    assert runs(task) == ("second" if ref in ("", "main") else "first")
    assert task.origin is not None
    assert task.origin.commit == (second if ref in ("", "main") else first)


def test_a_branch_goes_before_a_tag_of_its_name(repository: Repository) -> None:
    repository.git("tag", "release")
    repository.git("checkout", "--quiet", "-b", "release")
    newer = repository.commit("second")
    assert source.checkout(repository.url, "release", NO_ACCESS).origin.commit == newer


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("no-such-branch", "no branch, tag or commit 'no-such-branch'; its branches include main"),
        ("0" * 40, "git_ref|git says|no commit"),
        ("0123456", "no commit 0123456"),
        ("--upload-pack=touch /tmp/x", "is no branch, tag or commit"),
        ("a b", "is no branch"),
        ("main..other", "is no branch"),
        ("main^", "is no branch"),
    ],
)
def test_a_ref_that_is_not_there_is_told(repository: Repository, ref: str, said: str) -> None:
    with pytest.raises(TaskFileError, match=said) as told:
        source.checkout(repository.url, ref, NO_ACCESS)
    assert "\n" not in str(told.value)
    assert not told.value.retryable


def test_an_empty_repository_is_told(tmp_path: Path) -> None:
    with pytest.raises(TaskFileError, match="has no default branch; it is empty"):
        source.checkout(Repository(tmp_path / "empty").url, "", NO_ACCESS)


@pytest.mark.parametrize(
    "url", ["ext::sh -c touch% /tmp/x", "git://host/repository", "ftp://host/x", "https://host/a b", "--upload-pack=x://", "s3://bucket/x"]
)
def test_only_https_ssh_and_file_are_fetched(url: str) -> None:
    with pytest.raises(TaskFileError, match="no Git URL this can fetch"):
        source.checkout(url, "", NO_ACCESS)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("https://github.com/org/repository.git", True),
        ("git@github.com:org/repository.git", True),
        ("ssh://git@host:2222/org/repository", True),
        ("file:///folder", True),
        ("tasks", False),
        ("/path/to/tasks", False),
        ("C:\\tasks", False),
        ("folder/with@sign", False),
    ],
)
def test_a_git_url_is_told_from_a_folder(text: str, is_one: bool) -> None:
    assert source.is_git_url(text) is is_one


def test_a_ref_for_a_folder_is_refused(settings: Settings) -> None:
    with pytest.raises(TaskFileError, match="git_ref: is given, and base_path is no Git URL"):
        load_task("train.yaml", base_path="tasks", git_ref="main", settings=settings)


def test_a_git_hook_around_us_does_not_lead_git_astray(repository: Repository, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert runs(load_task("tasks/train.yaml", base_path=repository.url, settings=settings)) == "first"


def test_a_host_without_git_is_told(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(TaskFileError, match="install git"):
        source.checkout(repository.url, "", NO_ACCESS)
