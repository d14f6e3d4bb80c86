"""What a task is called, and from where its relative paths are taken."""

from __future__ import annotations

import pytest

from sky_orchestrate.errors import TaskFileError
from sky_orchestrate.launch_config import launch_config
from sky_orchestrate.settings import Settings
from sky_orchestrate.task import load_task
from tests.task.conftest import RUN, text


def test_a_file_names_itself_where_it_has_no_name(settings: Settings) -> None:
    (settings.root / "fine tune.yaml").write_text(RUN)
    assert load_task("fine tune.yaml", settings=settings).name == "fine-tune"
    assert text(settings, RUN).name == "task"


def test_a_projects_task_takes_its_paths_from_the_projects_root(settings: Settings) -> None:
    (settings.root / "tasks").mkdir()
    (settings.root / "data").mkdir()
    (settings.root / "tasks" / "train.yaml").write_text(f"workdir: .\nfile_mounts: {{/data: ./data}}\n{RUN}")
    for task in (load_task("tasks/train.yaml", settings=settings), load_task("train.yaml", base_path="tasks", settings=settings)):
        assert task.root == settings.root
        assert (task.config["workdir"], task.config["file_mounts"]) == (".", {"/data": "./data"})


def test_a_task_of_another_folder_takes_its_paths_from_there(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "tasks").mkdir()
    (elsewhere / "tasks" / "train.yaml").write_text(f"workdir: .\n{RUN}")
    assert load_task("tasks/train.yaml", base_path=elsewhere, settings=settings).root == elsewhere
    assert load_task(elsewhere / "tasks" / "train.yaml", settings=settings).root == elsewhere / "tasks"
    assert text(settings, f"workdir: tasks\n{RUN}", base_path=elsewhere).root == elsewhere


def test_a_workdir_that_is_not_there_is_told_before_anything_is_launched(settings: Settings) -> None:
    (settings.root / "train.yaml").write_text(f"workdir: src\n{RUN}")
    with pytest.raises(TaskFileError, match="workdir: no folder 'src'"):
        load_task("train.yaml", settings=settings)


def test_envs_reach_paths_before_launch(settings: Settings) -> None:
    (settings.root / "data").mkdir()
    mounts = "{'/in/$FOLDER': '${FOLDER}', /b: {source: 's3://$BUCKET', mode: MOUNT}}"
    yaml_text = f"envs: {{FOLDER: data, BUCKET: b}}\nfile_mounts: {mounts}\n{RUN}"
    task = text(settings, yaml_text, base_path=".")
    assert task.config["file_mounts"] == {"/in/data": "data", "/b": {"source": "s3://b", "mode": "MOUNT"}}


def test_local_paths_are_absolute_at_launch_alone(settings: Settings) -> None:
    for name in ("a", "b"):
        (settings.root / name).mkdir()
    mounts = "{/a: ./a, /s3: 's3://x', /m: {name: m, source: [a, 'b']}, /n: {name: n}, /t: '$TOKEN/x'}"
    task = text(settings, f"workdir: a\nsecrets: {{TOKEN: x}}\nfile_mounts: {mounts}\n{RUN}", base_path=".")
    config = launch_config(task, job_name="job", labels={"owner": "x"})
    root = settings.root.resolve()
    assert config["workdir"] == str(root / "a")
    assert config["file_mounts"] == {
        "/a": str(root / "a"),
        "/s3": "s3://x",
        "/m": {"name": "m", "source": [str(root / "a"), str(root / "b")]},
        "/n": {"name": "n"},
        "/t": "$TOKEN/x",
    }
    assert task.config["workdir"] == "a"
