"""The pods as Kubernetes gets them: restricted, without rights, with secrets by reference, and the same command at each try."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from sky_orchestrate import naming
from sky_orchestrate.__main__ import _parser
from sky_orchestrate.airflow.runs import AirflowRun
from sky_orchestrate.airflow_pods.operator import SkyPodOperator
from sky_orchestrate.settings import load_settings
from tests.airflow_pods.conftest import RUN, base_of, pod_of
from tests.conftest import ROOT

TASKS = [pytest.param("sky_k8s_example", task, id=f"example {task}") for task in ("sky_launch", "sky_logs", "sky_status", "sky_down")] + [
    *(pytest.param("sky_k8s_example_xcoms", task, id=f"xcoms {task}") for task in ("sky_launch", "sky_logs", "sky_down")),
    *(
        pytest.param("sky_k8s_train_pipeline", task, id=f"pipeline {task}")
        for task in ("data_preprocessing", "train", "eval", "data_down", "train_down")
    ),
]


@pytest.fixture(scope="module")
def bag() -> DagBag:
    return DagBag(ROOT / "dags")


def a_task(*command: str, **given: Any) -> SkyPodOperator:
    return SkyPodOperator(task_id="train", sky_command=list(command) or ["run", "tasks/train.yaml"], **given)


@pytest.mark.parametrize(("dag_id", "task_id"), TASKS)
def test_every_pod_keeps_to_restricted_pod_security_and_has_no_rights(bag: DagBag, dag_id: str, task_id: str) -> None:
    spec = pod_of(bag.dags[dag_id].get_task(task_id)).spec
    assert spec.automount_service_account_token is False
    assert spec.service_account_name is None
    assert spec.enable_service_links is False
    assert (spec.security_context.run_as_non_root, spec.security_context.seccomp_profile.type) == (True, "RuntimeDefault")
    assert not spec.host_network
    assert all(volume.empty_dir for volume in spec.volumes)
    for container in spec.containers:
        confined = container.security_context
        assert (confined.allow_privilege_escalation, confined.read_only_root_filesystem, confined.capabilities.drop) == (
            False,
            True,
            ["ALL"],
        )
        assert container.resources.requests


@pytest.mark.parametrize(("dag_id", "task_id"), TASKS)
def test_every_command_is_one_that_the_command_line_takes(bag: DagBag, dag_id: str, task_id: str) -> None:
    base = base_of(pod_of(bag.dags[dag_id].get_task(task_id)))
    assert base.command == ["python"]
    assert base.args[:2] == ["-m", "sky_orchestrate"]
    options = _parser().parse_args(base.args[2:])
    assert not any("{{" in argument for argument in base.args)
    if base.args[2] == "run":
        assert (ROOT / options.file).is_file()


def test_the_image_is_the_projects_for_the_command_and_the_sidecar_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    def images() -> set[str]:
        return {container.image for container in pod_of(a_task()).spec.containers}

    assert images() == {f"{load_settings(root=ROOT).slug}:latest"}
    monkeypatch.setenv("SKY_ORCHESTRATE_IMAGE", "registry.example.com/team/pipeline:abc")
    assert images() == {"registry.example.com/team/pipeline:abc"}
    sidecar = pod_of(a_task()).spec.containers[1]
    # A node that is drained waits for no container that heeds nothing.
    assert "TERM" in sidecar.command[-1]


def test_a_pod_runs_in_the_projects_namespace_or_where_the_connection_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pod_of(a_task()).metadata.namespace == "pipelines"
    monkeypatch.setenv("SKY_ORCHESTRATE_NAMESPACE", "project")
    assert pod_of(a_task()).metadata.namespace == "project"


def test_rule_10_secrets_are_references_in_the_pod_and_names_on_its_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "SKYPILOT_SERVICE_ACCOUNT_TOKEN", "GIT_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "hunter2")
    pod = pod_of(a_task(task_secrets={"HF_TOKEN": "team-tokens/hf"}))
    assert "hunter2" not in str(pod.to_dict())
    base = base_of(pod)
    assert base.args[base.args.index("--secret") + 1] == "HF_TOKEN"
    asked = {env.name: env.value_from.secret_key_ref for env in base.env if env.value_from}
    assert (asked["HF_TOKEN"].name, asked["HF_TOKEN"].key, asked["HF_TOKEN"].optional) == ("team-tokens", "hf", None)
    assert asked["SKYPILOT_SERVICE_ACCOUNT_TOKEN"].optional is True
    assert {env.name for env in base.env if env.value} == {"HOME"}


@pytest.mark.parametrize("place", ["hf", "team-tokens/", "/hf", ""])
def test_a_secret_without_its_place_is_told_where_the_dag_is_written(place: str) -> None:
    with pytest.raises(ValueError, match="team-tokens/hf"):
        a_task(task_secrets={"HF_TOKEN": place})


@pytest.mark.parametrize("command", ["run tasks/train.yaml", [], ["sky", "launch"], ["fly"]])
def test_a_wrong_command_is_told_where_the_dag_is_written(command: Any) -> None:
    with pytest.raises(ValueError, match="begins with one of run, logs"):
        SkyPodOperator(task_id="train", sky_command=command)


def test_rule_01_the_command_line_is_the_same_at_each_try_and_another_for_each_step_and_run() -> None:
    def arguments(**given: Any) -> tuple[str, ...]:
        return tuple(base_of(pod_of(a_task(), **given)).args)

    assert arguments(try_number=1) == arguments(try_number=3)
    assert len({arguments(), arguments(map_index=0), arguments(map_index=1), arguments(run_id="another")}) == 4


def test_rule_01_the_command_line_names_the_cluster_that_airflows_own_ids_make() -> None:
    options = _parser().parse_args(base_of(pod_of(a_task("run", "tasks/train.yaml", "--cluster", "gpu"))).args[2:])
    run = AirflowRun("pipeline", RUN)
    assert (options.run, options.key) == (run.name, "train/-1")
    assert naming.shared_cluster("sky", "gpu", owner="o", run=options.run) == run.shared_cluster("o", "sky", "gpu")
    assert AirflowRun.of_labels(dict(label.split("=") for label in options.label)) == run


@pytest.mark.parametrize(
    ("command", "within_run", "named"),
    [
        pytest.param(["down", "gpu"], True, True, id="a name of the run's"),
        pytest.param(["down", "sky-gpu-0123456789"], False, False, id="a name of SkyPilot's"),
        pytest.param(["run", "tasks/train.yaml"], False, True, id="a job is always one of its run"),
        pytest.param(["reap"], True, False, id="no command of a run"),
    ],
)
def test_names_are_the_runs_unless_they_are_said_to_be_skypilots(command: list[str], *, within_run: bool, named: bool) -> None:
    assert ("--run" in base_of(pod_of(a_task(*command, within_run=within_run))).args) is named


def test_a_result_comes_by_the_sidecar_and_only_where_there_is_one() -> None:
    assert "/airflow/xcom/return.json" in base_of(pod_of(a_task())).args
    for task in (a_task(do_xcom_push=False), a_task("down", "gpu")):
        pod = pod_of(task)
        assert len(pod.spec.containers) == 1
        assert "--result" not in base_of(pod).args


def test_what_a_dag_says_for_all_of_its_tasks_holds() -> None:
    with DAG("pipeline", schedule=None, default_args={"image": "mine:1", "do_xcom_push": False}):
        task = a_task()
    pod = pod_of(task)
    assert (base_of(pod).image, len(pod.spec.containers)) == ("mine:1", 1)
    assert pod_of(a_task(image="other:2")).spec.containers[0].image == "other:2"


def test_variables_of_ones_own_are_beside_those_that_a_pod_needs() -> None:
    env = {one.name for one in base_of(pod_of(a_task(env_vars={"AWS_ENDPOINT_URL": "http://s3"}))).env}
    assert {"AWS_ENDPOINT_URL", "HOME", "SKYPILOT_SERVICE_ACCOUNT_TOKEN"} <= env


def test_the_image_holds_all_that_a_pod_and_airflow_run() -> None:
    dockerfile = Path(ROOT / "manifests" / "Dockerfile").read_text()
    assert "USER 10001:10001" in dockerfile
    assert "useradd --uid 10001 --home-dir /home/worker " in dockerfile
    for folder in ("sky_orchestrate", "dags", "tasks", "workload", "airflow_local"):
        assert f"COPY {folder} {folder}\n" in dockerfile
