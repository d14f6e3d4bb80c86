"""Tasks of a Git repository: checked out at a branch, tag or commit, pinned, and without a credential anywhere."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sky_orchestrate import source
from sky_orchestrate.errors import SourceUnavailable, TaskFileError
from sky_orchestrate.git import Access, Git
from sky_orchestrate.launch_config import launch_config
from sky_orchestrate.settings import Settings
from sky_orchestrate.task import TaskSpec, load_task

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


def test_a_checkout_holds_no_more_history_than_it_needs(repository: Repository) -> None:
    repository.commit("second")
    folder = source.checkout(repository.url, "main", NO_ACCESS).folder
    assert (
        subprocess.run(["git", "rev-list", "--count", "HEAD"], cwd=folder, capture_output=True, text=True, check=True).stdout.strip() == "1"
    )


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
    "url",
    [
        "https://hunter2@github.com/org/repository",
        "https://user:hunter2@github.com/org/repository.git",
        "ssh://git:hunter2@host/repository",
        "https://x:hunter2@[broken/repository",
    ],
)
def test_a_url_with_credentials_is_refused_and_not_repeated(settings: Settings, url: str) -> None:
    both: list[dict[str, Any]] = [{"yaml_path": "a.yaml", "base_path": url}, {"yaml_text": f"workdir: {{url: '{url}'}}\nrun: x\n"}]
    for given in both:
        with pytest.raises(TaskFileError) as told:
            load_task(settings=settings, **given)
        assert "GIT_TOKEN" in str(told.value)
        assert "hunter2" not in str(told.value)


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
def test_a_git_url_is_told_from_a_folder(text: str, is_one: bool) -> None:  # noqa: FBT001
    assert source.is_git_url(text) is is_one


def test_a_branch_is_looked_up_again_for_another_run_and_kept_within_one(repository: Repository) -> None:
    first = source.checkout(repository.url, "main", NO_ACCESS, run="run-1").origin.commit
    second = repository.commit("second")
    assert source.checkout(repository.url, "main", NO_ACCESS, run="run-1").origin.commit == first
    assert source.checkout(repository.url, "main", NO_ACCESS, run="run-2").origin.commit == second
    assert source.checkout(repository.url, "main", NO_ACCESS).origin.commit == second


def test_within_a_run_the_repository_is_asked_once(repository: Repository, cache: Path) -> None:
    there = source.checkout(repository.url, "main", NO_ACCESS, run="run-1")
    repository.folder.rename(repository.folder.with_name("gone"))
    assert source.checkout(repository.url, "main", NO_ACCESS, run="run-1") == there
    assert not list(cache.glob("making-*"))


def test_a_checkout_swept_away_is_made_again_at_the_same_commit(repository: Repository) -> None:
    there = source.checkout(repository.url, "main", NO_ACCESS, run="run-1")
    repository.commit("second")
    there.folder.rename(there.folder.with_name("swept"))
    assert source.checkout(repository.url, "main", NO_ACCESS, run="run-1") == there
    assert there.folder.is_dir()


def test_a_commit_that_is_here_is_not_fetched_again(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    source.checkout(repository.url, "main", NO_ACCESS)
    monkeypatch.setattr(Git, "fetch", lambda *_: pytest.fail("fetched again"))
    source.checkout(repository.url, "main", NO_ACCESS)


def test_many_at_once_get_the_same_checkout(repository: Repository, cache: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(lambda _: source.checkout(repository.url, "main", NO_ACCESS, run="run-1"), range(4)))
    assert len(found) == 1
    assert sorted(path.suffix for path in cache.iterdir()) == ["", ".json"]


def test_what_was_not_used_for_a_week_is_forgotten(repository: Repository, cache: Path) -> None:
    old = source.checkout(repository.url, "main", NO_ACCESS, run="run-1").folder
    repository.commit("second")
    long_ago = time.time() - 8 * 24 * 3600
    for path in cache.iterdir():
        os.utime(path, (long_ago, long_ago))
    new = source.checkout(repository.url, "main", NO_ACCESS).folder
    assert (old.exists(), new.exists()) == (False, True)


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


def test_a_ref_for_a_folder_is_refused(settings: Settings) -> None:
    with pytest.raises(TaskFileError, match="git_ref: is given, and base_path is no Git URL"):
        load_task("train.yaml", base_path="tasks", git_ref="main", settings=settings)


def test_a_missing_file_is_told_with_the_repository_and_commit(repository: Repository, settings: Settings) -> None:
    with pytest.raises(TaskFileError, match=r"tasks/eval.yaml of file://.* at main \([0-9a-f]{10}\): no such file; tasks/ has train.yaml"):
        load_task("tasks/eval.yaml", base_path=repository.url, git_ref="main", settings=settings)


def test_a_git_hook_around_us_does_not_lead_git_astray(repository: Repository, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert runs(load_task("tasks/train.yaml", base_path=repository.url, settings=settings)) == "first"


class _Server(http.server.BaseHTTPRequestHandler):
    """Answers every request with a status, and keeps what it was asked with."""

    status = 401
    headers_seen: list[str]

    def do_GET(self) -> None:
        type(self).headers_seen.append(str(self.headers))
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, type[_Server]]]:
    class Handler(_Server):
        headers_seen: list[str] = []  # noqa: RUF012

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}/team/repository.git", Handler
        serving.shutdown()


def test_a_repository_that_wants_a_login_is_told_with_what_to_set(server: tuple[str, type[_Server]]) -> None:
    with pytest.raises(TaskFileError, match=r"no access to the repository.*GIT_TOKEN") as told:
        source.checkout(server[0], "main", NO_ACCESS)
    assert not told.value.retryable


def test_a_repository_that_does_not_answer_may_answer_later(server: tuple[str, type[_Server]]) -> None:
    server[1].status = 503
    with pytest.raises(SourceUnavailable) as told:
        source.checkout(server[0], "main", NO_ACCESS)
    assert told.value.retryable
    with pytest.raises(SourceUnavailable):
        source.checkout("http://127.0.0.1:9/repository", "main", NO_ACCESS)


def test_a_token_goes_to_https_alone_and_no_command_line_shows_it(
    server: tuple[str, type[_Server]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TaskFileError):
        source.checkout(server[0], "main", Access(token="hunter2"))
    assert not any("Authorization" in headers for headers in server[1].headers_seen)
    seen: list[tuple[list[str], dict[str, str]]] = []

    def run(command: list[str], *, env: dict[str, str], **_: object) -> subprocess.CompletedProcess[str]:
        seen.append((command, env))
        return subprocess.CompletedProcess(command, 128, "", "fatal: could not read Username: hunter2 https://x:hunter2@host/")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(TaskFileError) as told:
        source.checkout("https://host/repository", "main", Access(token="hunter2"))
    ((command, environ),) = seen
    assert "hunter2" not in " ".join(command) + str(told.value) + repr(Access(token="hunter2"))
    assert environ["GIT_CONFIG_KEY_0"] == "http.https://host/.extraHeader"
    assert environ["GIT_CONFIG_VALUE_0"].startswith("Authorization: Basic ")


def test_a_key_for_ssh_is_used_without_a_prompt() -> None:
    environ = Git("git@host:repository", Access(ssh_key_path="/keys/it's mine"))._environ()
    assert environ["GIT_SSH_COMMAND"] == r"ssh -o BatchMode=yes -i '/keys/it'\''s mine' -o IdentitiesOnly=yes"
    assert environ["GIT_TERMINAL_PROMPT"] == "0"


def test_nothing_kept_on_disk_holds_a_token(repository: Repository, settings: Settings, cache: Path) -> None:
    load_task("tasks/train.yaml", base_path=repository.url, secrets={"GIT_TOKEN": "hunter2"}, settings=settings, run="run-1")
    kept = [path.read_bytes() for path in cache.rglob("*") if path.is_file()]
    assert kept
    assert not any(b"hunter2" in content for content in kept)
    assert json.loads(next(cache.glob("*.json")).read_text())["origin"]["ref"] == ""


def test_a_host_without_git_is_told(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(TaskFileError, match="install git"):
        source.checkout(repository.url, "", NO_ACCESS)


def test_without_a_cache_a_temporary_folder_serves_till_the_process_ends(repository: Repository, tmp_path: Path) -> None:
    code = f"from sky_orchestrate import git, source; print(source.checkout({repository.url!r}, '', git.Access()).folder.is_dir())"
    environ = {**os.environ, "XDG_CACHE_HOME": "/dev/null", "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"
    assert not [*(tmp_path / "tmp").iterdir()]
