"""A project's settings, and a task from YAML text or the error that refuses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sky_orchestrate.errors import TaskFileError
from sky_orchestrate.settings import Settings
from sky_orchestrate.task import TaskSpec, load_task

RUN = "run: echo done\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(root=tmp_path, slug="project", owner="project")


def text(settings: Settings, yaml_text: str, **given: Any) -> TaskSpec:
    return load_task(yaml_text=yaml_text, settings=settings, **given)


def refused(settings: Settings, yaml_text: str, **given: Any) -> TaskFileError:
    with pytest.raises(TaskFileError) as told:
        text(settings, yaml_text, **given)
    assert "\n" not in str(told.value)
    assert not told.value.retryable
    return told.value
