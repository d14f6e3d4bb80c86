"""Credentials for a repository: asked for by name, given to it alone, and kept nowhere."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from sky_orchestrate import source
from sky_orchestrate.errors import SourceUnavailable, TaskFileError
from sky_orchestrate.git import Access, Git
from sky_orchestrate.settings import Settings
from sky_orchestrate.task import load_task
from tests.source.conftest import NO_ACCESS, Repository


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


class _Server(http.server.BaseHTTPRequestHandler):
    """Answers every request with a status, and keeps what it was asked with."""

    status = 401
    headers_seen: ClassVar[list[str]]

    def do_GET(self) -> None:
        type(self).headers_seen.append(str(self.headers))
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # `format` is one of them
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, type[_Server]]]:
    class Handler(_Server):
        headers_seen: ClassVar[list[str]] = []

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
