"""A task file becomes a TaskSpec, or one error that names file, field and what would be right."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from sky_orchestrate import fields
from sky_orchestrate.errors import SkyJobFailed, TaskFileError
from sky_orchestrate.launch_config import launch_config
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


def test_a_file_names_itself_where_it_has_no_name(settings: Settings) -> None:
    (settings.root / "fine tune.yaml").write_text(RUN)
    assert load_task("fine tune.yaml", settings=settings).name == "fine-tune"
    assert text(settings, RUN).name == "task"


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


def test_envs_are_laid_over_the_tasks_own_as_text(settings: Settings) -> None:
    task = text(settings, f"envs: {{EPOCHS: 10, RATE: }}\n{RUN}", envs={"RATE": 0.1, "NEW": "x", "EPOCHS": 20})
    assert task.config["envs"] == {"EPOCHS": "20", "RATE": "0.1", "NEW": "x"}
    assert "is given as nothing" in str(refused(settings, RUN, envs={"A": None}))
    assert "A B" in str(refused(settings, RUN, envs={"A B": "x"}))
    assert "a list" in str(refused(settings, RUN, envs={"A": [1]}))


def test_envs_reach_paths_before_launch(settings: Settings) -> None:
    (settings.root / "data").mkdir()
    mounts = "{'/in/$FOLDER': '${FOLDER}', /b: {source: 's3://$BUCKET', mode: MOUNT}}"
    yaml_text = f"envs: {{FOLDER: data, BUCKET: b}}\nfile_mounts: {mounts}\n{RUN}"
    task = text(settings, yaml_text, base_path=".")
    assert task.config["file_mounts"] == {"/in/data": "data", "/b": {"source": "s3://b", "mode": "MOUNT"}}


def test_a_secrets_value_is_in_secrets_alone(settings: Settings) -> None:
    task = text(settings, f"secrets: {{TOKEN: , KEY: in-file-hunter2}}\n{RUN}", secrets={"TOKEN": "hunter2", "EXTRA": "hunter2"})
    assert task.secrets == {"TOKEN": "hunter2", "KEY": "in-file-hunter2", "EXTRA": "hunter2"}
    assert task.config["secrets"] == {"TOKEN": None, "KEY": None, "EXTRA": None}
    assert "hunter2" not in repr(task) + json.dumps(task.config)


def test_a_name_declared_secret_is_refused_as_an_env(settings: Settings) -> None:
    for yaml_text, secrets in (
        (f"secrets: {{TOKEN: x}}\n{RUN}", {}),
        (f"secrets: ['secrets:team.TOKEN']\n{RUN}", {}),
        (RUN, {"TOKEN": "x"}),
    ):
        told = refused(settings, yaml_text, envs={"TOKEN": "hunter2"}, secrets=secrets)
        assert told.field == "envs.TOKEN"
        assert "hunter2" not in str(told)


def test_a_secret_for_a_name_declared_as_env_makes_it_secret(settings: Settings) -> None:
    task = text(settings, f"envs: {{TOKEN: , A: b}}\n{RUN}", secrets={"TOKEN": "hunter2"})
    assert task.config["envs"] == {"A": "b"}
    assert task.secrets == {"TOKEN": "hunter2"}


def test_skypilots_managed_secrets_stay_as_they_are(settings: Settings) -> None:
    assert text(settings, f"secrets: ['secrets:TOKEN']\n{RUN}").config["secrets"] == ["secrets:TOKEN"]
    mixed = text(settings, f"secrets: {{'secrets:TOKEN': , KEY: x}}\n{RUN}")
    assert mixed.config["secrets"] == {"secrets:TOKEN": None, "KEY": None}


@pytest.mark.parametrize(
    "yaml_text",
    ["secrets: {A: [hunter2]}\n", "envs: {A: [hunter2]}\n", "secrets: {A: x}\nsecrets: {A: hunter2}\n", "secrets: {A: 'hunter2\n"],
)
def test_no_error_repeats_a_value(settings: Settings, yaml_text: str) -> None:
    assert "hunter2" not in str(refused(settings, yaml_text))


def test_a_secret_that_is_no_text_is_refused_without_its_value(settings: Settings) -> None:
    told = refused(settings, RUN, secrets={"TOKEN": ["hunter2"]})
    assert "secrets.TOKEN: is given as a list" in str(told)
    assert "hunter2" not in str(told)


@pytest.mark.parametrize(
    ("own", "laid"),
    [
        ("{infra: k8s, accelerators: H100:1}", {"infra": "slurm", "accelerators": "H100:1"}),
        ("{cloud: aws, region: us-east-1, zone: us-east-1a, cpus: 2}", {"infra": "slurm", "cpus": 2}),
        ("{any_of: [{infra: aws}, {infra: gcp}], cpus: 2}", {"infra": "slurm", "cpus": 2}),
        ("{any_of: [{infra: aws, cpus: 4}, {infra: gcp, cpus: 4}]}", {"infra": "slurm", "cpus": 4}),
        (
            "{ordered: [{infra: aws, accelerators: H100:1}, {cloud: gcp, accelerators: A100:1}]}",
            {"infra": "slurm", "ordered": [{"accelerators": "H100:1"}, {"accelerators": "A100:1"}]},
        ),
    ],
)
def test_the_infra_takes_the_place_of_every_cloud_named(settings: Settings, own: str, laid: dict[str, Any]) -> None:
    assert text(settings, f"resources: {own}\n{RUN}", infra="slurm").config["resources"] == laid
    assert text(Settings(settings.root, "x", "x", infra="slurm"), f"resources: {own}\n{RUN}").config["resources"] == laid


def test_a_task_without_resources_gets_the_infra_too(settings: Settings) -> None:
    assert text(settings, RUN, infra="aws/us-east-1").config["resources"] == {"infra": "aws/us-east-1"}
    assert "resources" not in text(settings, RUN).config
    assert "did you mean" in str(refused(settings, RUN, infra="slrum"))


def test_resources_are_laid_over_every_alternative(settings: Settings) -> None:
    own = "{any_of: [{infra: aws, accelerators: H100:1}, {infra: gcp}], accelerators: A100:1}"
    laid = text(settings, f"resources: {own}\n{RUN}", resources={"accelerators": "L4:2"}).config["resources"]
    assert laid == {"any_of": [{"infra": "aws", "accelerators": "L4:2"}, {"infra": "gcp"}], "accelerators": "L4:2"}
    assert "did you mean `accelerators`" in str(refused(settings, RUN, resources={"acelerators": "L4"}))
    assert "cannot take" in str(refused(settings, RUN, resources={"cpus": object()}))
    assert "no GPU" in str(refused(settings, RUN, resources={"accelerators": "two H100"}))


BUCKET = f"envs: {{DATA_BUCKET_URL: ''}}\n{RUN}"


def test_a_task_that_asks_for_a_bucket_gets_the_projects(settings: Settings) -> None:
    here = Settings(settings.root, "x", "x", bucket="s3://ours")
    assert text(here, BUCKET).config["envs"]["DATA_BUCKET_URL"] == "s3://ours"
    assert text(here, f"envs: {{DATA_BUCKET_URL: }}\n{RUN}").config["envs"]["DATA_BUCKET_URL"] == "s3://ours"
    assert text(here, f"envs: {{DATA_BUCKET_URL: 's3://own'}}\n{RUN}").config["envs"]["DATA_BUCKET_URL"] == "s3://own"
    assert text(here, BUCKET, envs={"DATA_BUCKET_URL": "gs://given"}).config["envs"]["DATA_BUCKET_URL"] == "gs://given"
    assert "envs" not in text(here, RUN).config


def test_the_guides_name_and_store_type_are_understood(settings: Settings) -> None:
    guides = f"envs: {{DATA_BUCKET_NAME: '', DATA_BUCKET_STORE_TYPE: s3}}\n{RUN}"
    here = Settings(settings.root, "x", "x", bucket="gs://ours/folder")
    assert text(here, guides).config["envs"] == {"DATA_BUCKET_NAME": "ours", "DATA_BUCKET_STORE_TYPE": "gcs"}
    both = f"envs: {{DATA_BUCKET_URL: '', DATA_BUCKET_NAME: '', DATA_BUCKET_STORE_TYPE: ''}}\n{RUN}"
    given = text(settings, both, envs={"DATA_BUCKET_NAME": "given", "DATA_BUCKET_STORE_TYPE": "gcs"})
    assert given.config["envs"]["DATA_BUCKET_URL"] == "gs://given"


def test_on_the_local_skypilot_a_folder_is_the_bucket(settings: Settings) -> None:
    here = Settings(settings.root, "x", "x", local=True)
    assert text(here, BUCKET).config["envs"]["DATA_BUCKET_URL"] == f"file://{settings.root}/.local/bucket"


def test_elsewhere_a_missing_bucket_is_refused_with_the_line_to_set(settings: Settings) -> None:
    told = refused(settings, BUCKET)
    assert told.field == "envs.DATA_BUCKET_URL"
    assert "DATA_BUCKET_URL=s3://my-bucket/folder in .env" in told.cure
    assert "is no bucket" in str(refused(settings, BUCKET, envs={"DATA_BUCKET_URL": "my-bucket"}))


def test_the_digest_is_that_of_what_the_task_does(settings: Settings) -> None:
    one = text(settings, f"envs: {{A: b, C: d}}\n{RUN}")
    assert one.digest == text(settings, f"{RUN}envs: {{C: d, A: b}}  # in another order\n").digest
    assert one.digest != text(settings, f"envs: {{A: b, C: d}}\n{RUN}", envs={"A": "x"}).digest
    assert one.digest != text(settings, f"envs: {{A: b, C: d}}\n{RUN}", infra="aws").digest
    with_secret = [text(settings, f"envs: {{A: b, C: d}}\n{RUN}", secrets={"TOKEN": value}).digest for value in ("1", "2")]
    assert with_secret[0] == with_secret[1] != one.digest


def test_the_digest_is_the_same_on_hosts_with_another_path(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    for root in (settings.root, other):
        (root / "train.yaml").write_text(f"workdir: .\n{RUN}")
    digests = {load_task("train.yaml", settings=Settings(root, "x", "x")).digest for root in (settings.root, other)}
    assert len(digests) == 1


def test_a_task_may_follow_on_a_cluster_that_was_set_up_alike(settings: Settings) -> None:
    train = text(settings, "setup: pip install $PACKAGE\nenvs: {PACKAGE: x, EPOCHS: 1}\nrun: train\n")
    assert train.setup_digest == text(settings, "setup: pip install $PACKAGE\nenvs: {PACKAGE: x}\nrun: eval\n").setup_digest
    assert train.setup_digest != text(settings, "setup: pip install $PACKAGE\nenvs: {PACKAGE: y}\nrun: eval\n").setup_digest
    assert train.setup_digest != text(settings, "setup: make\nrun: eval\n").setup_digest


def test_errors_survive_pickling_as_orchestrators_do_it() -> None:
    for error in (
        TaskFileError("a.yaml", "run", "is wrong", "be right"),
        SkyJobFailed(cluster_name="c", job_id=1, status="FAILED", exit_code=3, log_tail=["x"]),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_the_tasks_of_this_project_are_right(settings: Settings) -> None:
    root = Path(__file__).resolve().parent.parent
    for path in sorted((root / "tasks").glob("*.yaml")):
        if re.search(r"{[{%]", path.read_text()):
            pytest.skip("these are the template's")
        task = load_task(path, settings=Settings(root, "x", "x", bucket="s3://ours"))
        assert task.root == root
        assert task.config["envs"]["DATA_BUCKET_URL"] == "s3://ours"


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
