"""A mistake in a task file is one error that names file, field and what would be right."""

from __future__ import annotations

from typing import Any

import pytest

from sky_orchestrate.errors import TaskFileError
from sky_orchestrate.settings import Settings
from sky_orchestrate.task import load_task
from tests.task.conftest import RUN, refused


@pytest.mark.parametrize(
    ("yaml_text", "said"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("- run: x\n", "holds a list"),
        ("echo hello", "holds text"),
        ("run: [", "line 1, column 7"),
        ("run: a\n  b: c\n", "line 2"),
        ("a: b: c", "line 1"),
        ("run: \x00", "not valid YAML"),
        ("run: !!python/object:os.system x", "tag"),
        ("run: a\n---\nrun: b\n", "holds 2 documents; one task per file"),
        ("run: a\nrun: b\n", "run: stands twice, on lines 1 and 2"),
        ("resources: {cpus: 1, cpus: 2}\n", "cpus: stands twice"),
        ("unn: x\n", "unn: no such field in a SkyPilot task; did you mean `run`?"),
        ("comand: x\n", "it would be one of api_server_access"),
        ("resources: {accelerator: H100}\n", "resources.accelerator: no such field in a SkyPilot task; did you mean `accelerators`?"),
        ("resources: {any_of: [{infa: aws}]}\n", "resources.any_of[0].infa: no such field in a SkyPilot task; did you mean `infra`?"),
        ("resources: {any_of: [aws]}\n", "resources.any_of[0]: holds text"),
        ("1: x\n", "1: no such field"),
        ("run: [echo, hi]\n", "run: holds a list; it would be right as text"),
        ("run: 1\n", "run: holds a whole number; it would be right as text"),
        ("setup:\nrun: x\n", "setup: holds nothing; it would be right as text, or without the line"),
        ("num_nodes: two\n", "num_nodes: holds text; it would be right as a whole number"),
        ("num_nodes: true\n", "num_nodes: holds true or false"),
        ("num_nodes: 0\n", "num_nodes: is 0"),
        ("resources: H100:1\n", "resources: holds text; it would be right as a mapping"),
        ("resources: {use_spot: 'yes'}\n", "resources.use_spot: holds text; it would be right as true or false"),
        ("resources: {accelerators: H100 x 8}\n", "resources.accelerators: 'H100 x 8' is no GPU; NAME or NAME:COUNT is right"),
        ("resources: {accelerators: [H100:1, 'A100:']}\n", "'A100:' is no GPU"),
        ("resources: {infra: asw/us-east-1}\n", "resources.infra: is 'asw/us-east-1'; no such cloud; did you mean `aws`?"),
        ("name: -x\n", "name: SkyPilot takes no task named '-x'"),
        ("name: a---b\n", "name:"),
        ("name: ä\n", "name:"),
        ("envs: [A]\n", "envs: holds a list"),
        ("envs: {1A: x}\n", "envs: '1A' is no variable's name"),
        ("envs: {A-B: x}\n", "envs: 'A-B' is no variable's name"),
        ("envs: {A: {b: c}}\n", "envs.A: holds a mapping; it would be right as text"),
        ("envs: {A: }\n", "envs.A: has no default, and no value is given"),
        ("secrets: {A: }\n", "secrets.A: has no value; give it as a secret"),
        ("secrets: [A]\n", "secrets: a list holds SkyPilot's managed secrets alone"),
        ("envs: {A: x}\nsecrets: {A: x}\n", "envs.A: stands under envs and under secrets"),
        ("resources: {labels: {since: 2026-01-01}}\n", "resources: holds what SkyPilot cannot take"),
        ("envs: {A: 2026-02-31}\n", "a date or number that does not exist"),
        ("config: &a {x: *a}\n", "config: holds what SkyPilot cannot take"),
        ("workdir: .\n", "workdir: '.' is relative, and this text lies in no folder; give base_path"),
        ("workdir: {ref: main}\n", "workdir: a Git workdir has a `url` and a `ref`"),
        ("workdir: {url: https://host/x, reff: main}\n", "workdir.reff: a Git workdir has"),
        ("file_mounts: {/data: ./data}\n", "file_mounts./data: './data' is relative"),
        ("file_mounts: {/data: {name: b, source: data}}\n", "file_mounts./data: 'data' is relative"),
        ("file_mounts: {/data: /no/such/folder}\n", "file_mounts./data: no file or folder '/no/such/folder'"),
        ("file_mounts: {/data: 1}\n", "file_mounts./data: its source is no text"),
    ],
)
def test_a_mistake_is_told_by_file_field_and_what_is_right(settings: Settings, yaml_text: str, said: str) -> None:
    told = refused(settings, yaml_text)
    assert said in str(told)
    assert str(told).startswith("task YAML: ")


def test_exactly_one_of_path_and_text_is_given(settings: Settings) -> None:
    wrong: list[dict[str, Any]] = [{}, {"yaml_path": "a.yaml", "yaml_text": RUN}]
    for given in wrong:
        with pytest.raises(TaskFileError, match="exactly one"):
            load_task(settings=settings, **given)


def test_a_missing_file_is_told_with_those_that_are_there(settings: Settings) -> None:
    (settings.root / "tasks").mkdir()
    (settings.root / "tasks" / "train.yaml").write_text(RUN)
    with pytest.raises(TaskFileError, match=r"tasks/trian.yaml: no such file; tasks/ has train.yaml"):
        load_task("tasks/trian.yaml", settings=settings)
    with pytest.raises(TaskFileError, match="is a folder"):
        load_task("tasks", settings=settings)
    with pytest.raises(TaskFileError, match="base_path: no folder"):
        load_task("train.yaml", base_path="task", settings=settings)


def test_a_file_that_is_no_text_is_one_line(settings: Settings) -> None:
    (settings.root / "train.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(TaskFileError, match="cannot be read"):
        load_task("train.yaml", settings=settings)


@pytest.mark.parametrize(
    "yaml_text",
    ["secrets: {A: [hunter2]}\n", "envs: {A: [hunter2]}\n", "secrets: {A: x}\nsecrets: {A: hunter2}\n", "secrets: {A: 'hunter2\n"],
)
def test_no_error_repeats_a_value(settings: Settings, yaml_text: str) -> None:
    assert "hunter2" not in str(refused(settings, yaml_text))
