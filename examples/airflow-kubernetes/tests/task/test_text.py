"""A task's text, read on one worker and run on another."""

from __future__ import annotations

import pytest

from sky_orchestrate.errors import TaskFileError
from sky_orchestrate.settings import Settings
from sky_orchestrate.task import load_task, read_task
from tests.task.conftest import refused


def test_the_text_of_a_file_is_read_with_what_errors_call_it(settings: Settings) -> None:
    (settings.root / "tasks").mkdir()
    (settings.root / "tasks" / "train.yaml").write_text("run: echo done\n")
    text = read_task("tasks/train.yaml", settings=settings)
    assert (text.text, text.source, text.commit) == ("run: echo done\n", "tasks/train.yaml", "")
    assert load_task(yaml_text=text.text, said=text.source, settings=settings).config["run"] == "echo done"


def test_a_file_that_is_not_there_is_told(settings: Settings) -> None:
    with pytest.raises(TaskFileError, match=r"tasks/train\.yaml: no such file"):
        read_task("tasks/train.yaml", settings=settings)


def test_errors_of_a_text_name_the_file_it_came_from(settings: Settings) -> None:
    assert str(refused(settings, "resourcez: 1\nrun: echo\n", said="tasks/train.yaml")).startswith("tasks/train.yaml: resourcez")
