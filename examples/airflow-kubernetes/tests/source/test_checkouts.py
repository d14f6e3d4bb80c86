"""Checkouts are made once, pinned within a run, kept for a week and looked up again for another run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sky_orchestrate import source
from sky_orchestrate.git import Git
from tests.source.conftest import NO_ACCESS, Repository


def test_a_checkout_holds_no_more_history_than_it_needs(repository: Repository) -> None:
    repository.commit("second")
    folder = source.checkout(repository.url, "main", NO_ACCESS).folder
    assert (
        subprocess.run(["git", "rev-list", "--count", "HEAD"], cwd=folder, capture_output=True, text=True, check=True).stdout.strip() == "1"
    )


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


def test_without_a_cache_a_temporary_folder_serves_till_the_process_ends(repository: Repository, tmp_path: Path) -> None:
    code = f"from sky_orchestrate import git, source; print(source.checkout({repository.url!r}, '', git.Access()).folder.is_dir())"
    environ = {**os.environ, "XDG_CACHE_HOME": "/dev/null", "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"
    assert not [*(tmp_path / "tmp").iterdir()]
