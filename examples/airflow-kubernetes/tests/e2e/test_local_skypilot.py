"""The local SkyPilot from nothing to nothing: in a project folder of its own, beside another one, killed halfway, and gone again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from local import place, processes
from tests.conftest import ROOT

pytestmark = pytest.mark.e2e

USER = uuid.uuid4().hex[:8]
TASK = """\
resources: {infra: slurm, accelerators: "A100:2"}
setup: uv --version
run: |
  echo "gpus $SKYPILOT_NUM_GPUS_PER_NODE at $HOME"
  exit $CODE
envs: {CODE: 0}
"""


@dataclass(frozen=True)
class Project:
    """A project that has nothing but `local/` and a task; the caller's home folder is an empty one."""

    root: Path
    home: Path

    def local(self, command: str) -> subprocess.Popen[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("SKY", "SLURM"))}
        caches = {"UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv")}
        return subprocess.Popen(
            [sys.executable, "-m", "local", command],
            cwd=self.root,
            env={**clean, **caches, "HOME": str(self.home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def do(self, command: str) -> str:
        process = self.local(command)
        said = process.communicate(timeout=300)[0]
        assert process.returncode == 0, said
        return said

    @property
    def place(self) -> place.Place:
        return place.find_place(self.root)

    @property
    def endpoint(self) -> str:
        return (self.root / ".local" / "env").read_text().split("=", 1)[1].splitlines()[0]

    def sky(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """SkyPilot's own command, as a user of another home folder."""
        client = self.home.with_name("client")
        client.mkdir(exist_ok=True)
        environment = {"PATH": os.environ["PATH"], "HOME": str(client), "SKYPILOT_API_SERVER_ENDPOINT": self.endpoint}
        return subprocess.run(
            [str(Path(sys.executable).with_name("sky")), *arguments],
            cwd=self.root,
            env={**environment, "SKYPILOT_DISABLE_USAGE_COLLECTION": "1", "SKYPILOT_USER_ID": USER},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


def _project(folder: Path) -> Project:
    root, home = folder / "a project", folder / "home"
    home.mkdir(parents=True)
    (root / "tasks").mkdir(parents=True)
    (root / "tasks" / "train.yaml").write_text(TASK)
    shutil.copytree(ROOT / "local", root / "local", ignore=shutil.ignore_patterns("__pycache__"))
    return Project(root, home)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    found = _project(tmp_path_factory.mktemp("local"))
    try:
        yield found
    finally:
        found.do("down")


@pytest.fixture(scope="module")
def up(project: Project) -> Project:
    """Up, by two callers at once."""
    both = [project.local("up"), project.local("up")]
    said = [process.communicate(timeout=400)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert project.endpoint in said[0]
    assert project.endpoint in said[1]
    return project


def test_up_again_returns_at_once(up: Project) -> None:
    began = time.monotonic()
    assert up.endpoint in up.do("up")
    assert time.monotonic() - began < 5


def test_a_task_gets_its_gpus_and_the_code_it_ends_with_comes_back(up: Project) -> None:
    done = up.sky("launch", "-y", "-c", "probe", "tasks/train.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gpus 2 at " in done.stdout
    assert str(Path.home()) + "/.sky_clusters" not in done.stdout
    failed = up.sky("exec", "probe", "tasks/train.yaml", "--env", "CODE=3")
    assert failed.returncode == 100, failed.stdout + failed.stderr


def test_a_second_project_runs_beside_it_and_goes_alone(up: Project, tmp_path: Path) -> None:
    other = _project(tmp_path)
    try:
        other.do("up")
        assert other.endpoint != up.endpoint
    finally:
        other.do("down")
    assert not (other.root / ".local").exists()
    assert "is up at" in up.do("status")
    assert "probe" in up.sky("status").stdout


def test_what_was_killed_comes_back_with_up_and_the_clusters_with_it(up: Project) -> None:
    for name in ("api", "slurmctld", "slurmd-A100"):
        pid = processes.running(up.place, name)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    up.do("up")
    assert "probe" in up.sky("status").stdout
    assert "probe" in up.do("status")


def test_down_after_a_kill_halfway_leaves_no_process_and_no_file(up: Project) -> None:
    here = up.place
    detached = up.sky("exec", "-d", "probe", "sleep 600")
    assert detached.returncode == 0, detached.stdout + detached.stderr
    for name in ("api", "munged", "sshd", "slurmd-A100"):
        if pid := processes.running(here, name):
            os.kill(pid, signal.SIGKILL)
    users = [USER, (here.home / ".sky" / "user_hash").read_text().strip()]
    up.do("down")
    assert processes.ours(here.folder) == set()
    assert not here.folder.exists()
    assert here.alias is not None
    assert not here.alias.is_symlink()
    assert not [user for user in users if Path(f"/tmp/sky_ssh_{user}").exists()]
    assert sorted(path.name for path in up.home.iterdir()) in ([], [".cache"])
    assert sorted(path.name for path in up.root.iterdir() if path.name != ".uv") == ["local", "tasks"]
