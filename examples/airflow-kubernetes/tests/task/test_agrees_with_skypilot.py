"""What is known here about task files is what SkyPilot itself knows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sky_orchestrate import fields
from sky_orchestrate.settings import Settings
from sky_orchestrate.task import load_task
from tests.task.conftest import text


def test_what_is_read_is_what_skypilot_reads(settings: Settings) -> None:
    task = text(settings, "name: train\nenvs: {EPOCHS: 10, RATE: 0.1, FLAG: true, DAY: 2026-01-02, EMPTY: ''}\nrun: echo $EPOCHS\n")
    assert task.name == "train"
    assert task.config["envs"] == {"EPOCHS": "10", "RATE": "0.1", "FLAG": "True", "DAY": "2026-01-02", "EMPTY": ""}
    json.dumps(task.config)


def test_the_table_of_fields_is_skypilots_own() -> None:
    pytest.importorskip("sky")
    from sky.skylet import constants
    from sky.utils import schemas

    task: Any = schemas.get_task_schema()
    assert set(fields.TASK) == set(task["properties"])
    resources: Any = schemas.get_resources_schema()["properties"]
    assert set(fields.RESOURCES) == set(resources)
    assert set(fields.ONE_RESOURCE) == set(resources["any_of"]["items"]["properties"])
    assert fields.CLOUDS == constants.ALL_CLOUDS


def test_the_types_are_skypilots_own() -> None:
    pytest.importorskip("sky")
    from sky.utils import schemas

    kinds = {"string": str, "object": dict, "array": list, "integer": int, "number": float, "boolean": bool, "null": type(None)}

    def types(schema: dict[str, Any]) -> set[type]:
        named = schema.get("type", [])
        own = {kinds[name] for name in ([named] if isinstance(named, str) else named)}
        return own.union(*(types(one) for choice in ("anyOf", "oneOf") for one in schema.get(choice, [])))

    both: Any = ((fields.TASK, schemas.get_task_schema()), (fields.RESOURCES, schemas.get_resources_schema()))
    for table, schema in both:
        for name, known in table.items():
            theirs = types(schema["properties"][name])
            assert set(known) == theirs | ({int} if float in theirs else set()), name


def test_names_are_checked_as_skypilot_does() -> None:
    pytest.importorskip("sky")
    from sky import task as sky_task

    from sky_orchestrate import task_file

    assert task_file._NAME.pattern == sky_task._VALID_NAME_REGEX


def test_skypilots_own_parser_takes_what_is_settled(settings: Settings) -> None:
    sky = pytest.importorskip("sky")
    task = text(
        settings,
        "name: train\nnum_nodes: 2\nresources: {any_of: [{infra: aws}, {infra: gcp}], accelerators: H100:1}\n"
        "envs: {BUCKET: data}\nsecrets: {TOKEN: }\nfile_mounts: {/data: 's3://$BUCKET'}\nrun: echo done\n",
        secrets={"TOKEN": "hunter2"},
        infra="slurm/local",
    )
    theirs = sky.Task.from_yaml_config(json.loads(json.dumps(task.config)), secrets_overrides=list(task.secrets.items()))
    (resources,) = theirs.resources
    assert (resources.infra.cloud, resources.infra.region) == ("Slurm", "local")
    assert theirs.file_mounts == {"/data": "s3://data"}
    assert theirs.secrets["TOKEN"].get_secret_value() == "hunter2"


def test_the_tasks_of_this_project_are_right(settings: Settings) -> None:
    root = Path(__file__).resolve().parents[2]
    for path in sorted((root / "tasks").glob("*.yaml")):
        if re.search(r"{[{%]", path.read_text()):
            pytest.skip("these are the template's")
        task = load_task(path, settings=Settings(root, "x", "x", bucket="s3://ours"))
        assert task.root == root
        assert task.config["envs"]["DATA_BUCKET_URL"] == "s3://ours"
