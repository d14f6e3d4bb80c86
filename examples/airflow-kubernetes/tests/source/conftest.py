"""A Git repository of tasks, a project, and a cache of the test's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sky_orchestrate import source
from sky_orchestrate.git import Access
from sky_orchestrate.settings import Settings

NO_ACCESS = Access()


class Repository:
    """A Git repository in a folder, with one task file that says which commit it is of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")

    @property
    def url(self) -> str:
        return f"file://{self.folder}"

    def git(self, *arguments: str) -> str:
        who = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
        return subprocess.run(["git", *who, *arguments], cwd=self.folder, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, said: str, *, workdir: str = ".") -> str:
        (self.folder / "tasks").mkdir(exist_ok=True)
        (self.folder / "src").mkdir(exist_ok=True)
        (self.folder / "src" / "train.py").write_text(f"print({said!r})\n")
        (self.folder / "tasks" / "train.yaml").write_text(f"workdir: {workdir}\nrun: echo {said}\n")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", said)
        return self.git("rev-parse", "HEAD")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(source, "anyone_may_read", lambda url: False)
    for name in ("GIT_TOKEN", "GIT_SSH_KEY_PATH", "GIT_SSH_COMMAND", "GIT_CONFIG_COUNT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "sky-orchestrate" / "git"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repository")
    made.commit("first")
    return made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "project").mkdir()
    return Settings(tmp_path / "project", "project", "project")


@pytest.fixture
def on_https(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> str:
    """The repository under an https URL, which git is told to find in its folder."""
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{repository.url}.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://git.example.org/team/repository.git")
    return "https://git.example.org/team/repository.git"
