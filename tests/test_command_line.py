"""The real command: its exit code, its one line, and what it leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import tree


@pytest.fixture
def world(tmp_path: Path) -> Path:
    for folder in ("home", "work", "temporary"):
        (tmp_path / folder).mkdir()
    return tmp_path


def cookiecutter(template: Path, world: Path, *arguments: str, typed: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cookiecutter", str(template), *arguments],
        cwd=world / "work",
        env={**os.environ, "HOME": str(world / "home"), "PWD": str(world / "work"), "TMPDIR": str(world / "temporary")},
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def files(world: Path) -> list[str]:
    return sorted(path.relative_to(world).as_posix() for path in world.rglob("*") if path.is_file())


def test_no_input_bakes_the_default_project_in_a_second_and_says_how_to_go_on(template: Path, world: Path) -> None:
    begin = time.perf_counter()
    done = cookiecutter(template, world, "--no-input")
    took = time.perf_counter() - begin
    assert done.returncode == 0, done.stderr
    assert (world / "work" / "sky-train-pipeline" / "Makefile").is_file()
    assert [line.split("#")[0].strip() for line in done.stdout.strip().splitlines()] == [
        "Next:",
        "cd sky-train-pipeline",
        "make demo",
        "cp .env.example .env && make run",
    ]
    assert took < 3, "a bake takes a second; three are left for a busy machine"


def test_a_bake_leaves_nothing_in_the_folder_for_temporary_files(template: Path, world: Path) -> None:
    assert cookiecutter(template, world, "--no-input").returncode == 0
    assert not [*(world / "temporary").iterdir()]


def test_every_bake_has_the_same_bytes(template: Path, tmp_path: Path) -> None:
    trees: list[dict[str, bytes]] = []
    for name in ("one", "two"):
        world = tmp_path / name
        (world / "home").mkdir(parents=True)
        (world / "work").mkdir()
        assert cookiecutter(template, world, "--no-input").returncode == 0
        trees.append(tree(world / "work"))
    assert trees[0] == trees[1]


def test_answers_can_be_typed(template: Path, world: Path) -> None:
    done = cookiecutter(template, world, typed="{{7*7}} «проба»\nmy-slug\n1\naws/us-east-1\nA100:8\n\ns3://bucket\n")
    assert done.returncode == 0, done.stdout + done.stderr
    record = (world / "work" / "my-slug" / "pyproject.toml").read_text(encoding="utf-8")
    assert 'project_name = "{{7*7}} «проба»"' in record
    assert 'accelerator = "A100:8"' in record
    assert 'data_bucket_url = "s3://bucket"' in record


def test_a_typed_answer_is_refused_before_the_next_question(template: Path, world: Path) -> None:
    done = cookiecutter(template, world, typed="Name\n../evil\n")
    assert done.returncode == 1
    assert "project_slug: '../evil' cannot be a folder's name here" in done.stdout
    assert "Which orchestrator" not in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert files(world) == []


@pytest.mark.parametrize(
    "answer",
    [
        "project_slug=..",
        "project_slug=",
        "project_slug=/etc",
        "infra=amazon",
        "infra=aws accelerator=RTX4090:1",
        "accelerator=H100",
        "api_server_endpoint=http://me:hunter2@host",
        "data_bucket_url=bucket",
        "project_name=",
    ],
)
def test_an_answer_given_as_an_argument_is_refused_in_one_line(template: Path, world: Path, answer: str) -> None:
    done = cookiecutter(template, world, "--no-input", *answer.split())
    assert done.returncode == 1
    assert len(done.stdout.strip().splitlines()) == 1
    assert done.stderr == ""
    assert "hunter2" not in done.stdout
    assert files(world) == []


@pytest.fixture(scope="module")
def replayed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What cookiecutter keeps of a bake, to be replayed."""
    world = tmp_path_factory.mktemp("replay")
    for folder in ("home", "work"):
        (world / folder).mkdir()
    assert cookiecutter(template, world, "--no-input").returncode == 0
    (replay,) = (world / "home" / ".cookiecutter_replay").glob("*.json")
    return json.loads(replay.read_text())


@pytest.mark.parametrize("option", [[], ["--overwrite-if-exists"]])
@pytest.mark.parametrize("slug", ["..", "../evil", "work/../..", ""])
def test_a_replay_file_written_by_hand_meets_the_second_wall(
    template: Path, world: Path, replayed: dict[str, dict[str, str]], slug: str, option: list[str]
) -> None:
    replay = world / "by-hand.json"
    replay.write_text(json.dumps({**replayed, "cookiecutter": {**replayed["cookiecutter"], "project_slug": slug}}))
    before = files(world)
    done = cookiecutter(template, world, "--replay-file", str(replay), *option)
    assert done.returncode == 1
    assert done.stdout.startswith("project_slug: ")
    assert len(done.stdout.splitlines()) == 1
    assert [name for name in files(world) if not name.startswith("home/.cookiecutter")] == before


def test_an_unknown_gpu_on_kubernetes_is_warned_of_once(template: Path, world: Path) -> None:
    done = cookiecutter(template, world, "--no-input", "accelerator=H1000:1")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "warning: accelerator: 'H1000:1' is no GPU of SkyPilot's table; did you mean H100? It is kept, for k8s may have names of its own."
    ]


def test_an_existing_folder_is_not_touched(template: Path, world: Path) -> None:
    (world / "work" / "sky-train-pipeline").mkdir()
    (world / "work" / "sky-train-pipeline" / "mine").touch()
    done = cookiecutter(template, world, "--no-input")
    assert done.returncode == 1
    assert len(done.stdout.strip().splitlines()) == 1
    assert files(world / "work") == ["sky-train-pipeline/mine"]
