"""SkyTaskOperator in whole DAG runs: deferred to a trigger, and on the worker alone."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.trigger import Trigger
from airflow.models.variable import Variable
from airflow.sdk import Asset
from airflow.sdk.listener import ListenerManager
from airflow.utils.session import create_session
from sqlalchemy import select

from sky_orchestrate.airflow.operators import SkyDownOperator
from sky_orchestrate.airflow.task_operator import SkyTaskOperator
from sky_orchestrate.airflow.trigger import SkyTaskTrigger
from tests.airflow.conftest import Sky, own_cluster
from tests.airflow.dag_runs import new_dag, run, sky_task

pytestmark = pytest.mark.usefixtures("database")

BOTH = pytest.mark.parametrize("deferrable", [pytest.param(True, id="deferred"), pytest.param(False, id="on the worker")])


@BOTH
def test_rule_12_a_success_is_in_xcom_and_its_cluster_is_gone(sky: Sky, deferrable: bool) -> None:
    with new_dag() as dag:
        sky_task(run="echo '::sky-output::{\"accuracy\": 0.97}'", deferrable=deferrable)
    ended = run(dag)
    assert ended.state == "success"
    result = ended.xcom("train")
    assert set(result) == {"cluster_name", "job_id", "status", "outputs", "log_tail", "timings"}
    assert set(result["timings"]) == {"provisioned", "queued", "ran", "torn_down"}
    assert result["outputs"] == {"accuracy": 0.97}
    assert result["cluster_name"] == own_cluster("train", ended.run_id, dag_id=ended.dag_id)
    assert result["timings"]["torn_down"] is not None
    assert ended.xcom("train", "_link_SkyClusterLink") == f"{sky.endpoints[0]}/dashboard/clusters/{result['cluster_name']}"
    assert sky.server.left == []


@BOTH
def test_rule_02_a_failed_job_is_a_failed_run_and_its_cluster_is_gone(sky: Sky, deferrable: bool) -> None:
    with new_dag() as dag:
        sky_task(run="exit 3", deferrable=deferrable)
    assert run(dag).state == "failed"
    assert len(sky.server.submissions) == 1
    assert sky.server.left == []


def test_rule_02_a_failed_job_is_run_again_by_a_retry_on_a_clean_slate(sky: Sky) -> None:
    with new_dag() as dag:
        sky_task(run="exit 3", retries=1, retry_delay=timedelta(0))
    assert run(dag).state == "failed"
    assert len(sky.server.submissions) == 2
    assert sky.server.left == []


@pytest.mark.parametrize(
    ("given", "ends_in_the_trigger"),
    [
        pytest.param({}, True, id="nothing to do on a worker"),
        pytest.param({"outlets": [Asset("model")]}, False, id="assets"),
        pytest.param({"on_success_callback": lambda context: None}, False, id="a callback"),
        pytest.param({"post_execute": lambda context, result: None}, False, id="a hook"),
        pytest.param({"do_xcom_push": False}, False, id="no xcom"),
        pytest.param({"multiple_outputs": True}, False, id="an xcom for each of its result's fields"),
    ],
)
def test_a_success_on_a_shared_cluster_ends_in_the_trigger_unless_a_worker_has_to_do_with_it(
    sky: Sky, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], ends_in_the_trigger: bool
) -> None:
    asked: list[bool] = []
    made = SkyTaskTrigger.__init__

    def remembering(self: SkyTaskTrigger, **kwargs: Any) -> None:
        asked.append(kwargs["ends_task"])
        made(self, **kwargs)

    monkeypatch.setattr(SkyTaskTrigger, "__init__", remembering)
    with new_dag() as dag:
        sky_task(cluster="gpu", **given) >> SkyDownOperator(task_id="down", cluster="gpu")
    ended = run(dag)
    assert ended.state == "success"
    assert set(asked) == {ends_in_the_trigger}
    assert (ended.xcom("train") is None) == ("do_xcom_push" in given)
    assert sky.server.left == []


def test_a_task_that_others_are_mapped_over_ends_on_a_worker_which_counts_them() -> None:
    with new_dag():
        task = sky_task(cluster="gpu")
        SkyTaskOperator.partial(task_id="each", yaml_path="tasks/train.yaml").expand(envs_override=task.output)
    assert task._ends_on_a_worker()


def test_a_task_whose_result_is_its_dags_ends_on_a_worker_which_marks_it_so() -> None:
    with new_dag() as dag:
        task = sky_task(cluster="gpu")
    dag.add_result(task.output)
    assert task._ends_on_a_worker()


def test_a_listener_hears_of_each_success_so_none_ends_in_the_trigger(monkeypatch: pytest.MonkeyPatch) -> None:
    with new_dag():
        task = sky_task(cluster="gpu")
    assert not task._ends_on_a_worker()
    monkeypatch.setattr(ListenerManager, "has_listeners", True)
    assert task._ends_on_a_worker()


def test_a_mistake_that_no_retry_mends_is_not_retried_and_launches_nothing(sky: Sky) -> None:
    with new_dag() as dag:
        SkyTaskOperator(task_id="train", yaml_path="tasks/no-such.yaml", retries=3)
    assert run(dag).state == "failed"
    assert sky.server.log == []


def test_rule_01_a_worker_that_died_in_the_teardown_does_not_run_the_job_again(sky: Sky, monkeypatch: pytest.MonkeyPatch) -> None:
    deaths = iter([True])
    take_down = SkyTaskOperator._take_down

    def dying(self: SkyTaskOperator, cluster: str) -> float:
        if next(deaths, False):
            raise RuntimeError("the worker died")
        return take_down(self, cluster)

    monkeypatch.setattr(SkyTaskOperator, "_take_down", dying)
    with new_dag() as dag:
        sky_task(retries=1, retry_delay=timedelta(0))
    ended = run(dag)
    assert ended.state == "success"
    assert ended.xcom("train")["status"] == "SUCCEEDED"
    assert len(sky.server.submissions) == 1
    assert sky.server.left == []


def test_rule_07_the_timeout_of_a_deferred_task_fails_it_and_takes_its_cluster_down(sky: Sky) -> None:
    with new_dag() as dag:
        sky_task(run="sleep 1000", execution_timeout=timedelta(seconds=1))
    assert run(dag).state == "failed"
    assert sky.server.left == []


def test_rule_07_the_timeout_of_a_task_on_the_worker_takes_its_cluster_down(sky: Sky) -> None:
    with new_dag() as dag:
        sky_task(run="sleep 1000", execution_timeout=timedelta(seconds=1), deferrable=False)
    assert run(dag).state == "failed"
    assert sky.server.left == []


def test_rule_03_a_kept_cluster_stays_and_carries_its_label(sky: Sky) -> None:
    with new_dag() as dag:
        sky_task(down_on_completion=False)
    ended = run(dag)
    cluster = ended.xcom("train")["cluster_name"]
    assert sky.server.left == [cluster]
    assert sky.server.clusters[cluster].labels["keep"] == "1"


@pytest.mark.parametrize(
    ("second", "state"), [pytest.param("echo evaluated", "success", id="success"), pytest.param("exit 1", "failed", id="failure")]
)
def test_rule_14_two_tasks_share_a_cluster_and_a_teardown_takes_it_down_whatever_became_of_them(sky: Sky, second: str, state: str) -> None:
    with new_dag() as dag:
        train = sky_task("train", cluster="shared")
        evaluate = sky_task("eval", run=second, cluster="shared")
        train >> evaluate
        [train, evaluate] >> SkyDownOperator(task_id="down", cluster="shared").as_teardown()
    ended = run(dag)
    assert ended.state == state
    assert ended.tasks["down"] == "success"
    assert len({line.split()[1] for line in sky.server.log if line.startswith(("launch", "exec"))}) == 1
    assert sky.server.left == []


def test_rule_14_a_teardown_runs_where_the_first_task_failed_and_the_second_was_never_reached(sky: Sky) -> None:
    with new_dag() as dag:
        train = sky_task("train", run="exit 1", cluster="shared")
        evaluate = sky_task("eval", cluster="shared")
        train >> evaluate
        [train, evaluate] >> SkyDownOperator(task_id="down", cluster="shared").as_teardown()
    ended = run(dag)
    assert ended.state == "failed"
    assert ended.tasks == {"train": "failed", "eval": "upstream_failed", "down": "success"}
    assert sky.server.left == []


def test_arguments_are_templates(sky: Sky) -> None:
    with new_dag(params={"word": "default"}) as dag:
        sky_task(run="echo said $WORD", envs_override={"WORD": "{{ params.word }} {{ run_id }}"}, down_on_completion=False)
    ended = run(dag, word="templated")
    assert any(f"said templated {ended.run_id}" in line for line in ended.xcom("train")["log_tail"])


def test_rule_01_mapped_tasks_have_clusters_of_their_own(sky: Sky) -> None:
    with new_dag() as dag:
        SkyTaskOperator.partial(task_id="trial", task_yaml="name: trial\nrun: echo $N\nenvs: {N: ''}\n").expand(
            envs_override=[{"N": "1"}, {"N": "2"}, {"N": "3"}]
        )
    assert run(dag).state == "success"
    assert len(set(sky.server.submissions)) == 3
    assert sky.server.left == []


def test_rule_10_a_secret_is_in_no_table_of_airflows_database_and_in_no_log(sky: Sky, capfd: pytest.CaptureFixture[str]) -> None:
    Variable.set("team_hf_token", "hunter2-in-clear")
    with new_dag() as dag:
        sky_task(run="echo token $HF_TOKEN", secrets={"HF_TOKEN": "team_hf_token"}, retries=1, down_on_completion=False)
    ended = run(dag)
    assert ended.state == "success"
    (job,) = sky.server.clusters[ended.xcom("train")["cluster_name"]].jobs
    assert any("hunter2-in-clear" in line for line in job.lines)
    with create_session() as session:
        kept: list[Any] = [trigger.kwargs for trigger in session.scalars(select(Trigger))]
        kept += [fields.rendered_fields for fields in session.scalars(select(RenderedTaskInstanceFields))]
    shown = capfd.readouterr()
    everywhere = json.dumps([kept, ended.xcom("train")], default=str) + shown.out + shown.err + "".join(sky.server.bodies)
    assert "team_hf_token" in everywhere
    assert "hunter2" not in everywhere
