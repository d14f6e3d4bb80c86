"""The DAGs of dags/: they load without a word and without SkyPilot, and hold together as the contract wants."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag

from tests.conftest import ROOT

DAGS = {"sky_k8s_example", "sky_k8s_example_xcoms", "sky_k8s_train_pipeline", "sky_k8s_costs"}
FILES = sorted((ROOT / "dags").glob("*.py"))

_PARSE = """
import runpy, sys, warnings
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    for name in sys.argv[1:]:
        runpy.run_path(name)
ours = [str(one.message) for one in warned if "dags" in str(one.filename) or "sky_orchestrate" in str(one.filename)]
sys.exit(str(ours) if ours else "SkyPilot was imported" if "sky" in sys.modules else 0)
"""


@pytest.fixture(scope="module")
def bag() -> DagBag:
    return DagBag(ROOT / "dags")


def dag(bag: DagBag, dag_id: str) -> Any:
    return bag.dags[dag_id]


def command(task: Any) -> list[str]:
    return [part for part in getattr(task, "sky_command", []) if not part.startswith("--") and "=" not in part]


def test_all_load_without_errors_or_warnings(bag: DagBag) -> None:
    assert bag.import_errors == {}
    assert bag.captured_warnings == {}
    assert set(bag.dags) == DAGS


def test_parsing_imports_no_skypilot_and_warns_of_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", _PARSE, *map(str, FILES)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_guides_example_launches_reads_the_log_lists_and_takes_down(bag: DagBag) -> None:
    tasks = {task.task_id: task for task in dag(bag, "sky_k8s_example").tasks}
    assert {name: command(task)[0] for name, task in tasks.items()} == {
        "sky_launch": "run",
        "sky_logs": "logs",
        "sky_status": "status",
        "sky_down": "down",
    }
    assert tasks["sky_launch"].downstream_task_ids == {"sky_logs", "sky_down"}
    assert tasks["sky_status"].downstream_task_ids == {"sky_down"}


def test_rule_13_the_first_cluster_goes_down_beside_training(bag: DagBag) -> None:
    pipeline = dag(bag, "sky_k8s_train_pipeline")
    assert pipeline.get_task("data_preprocessing").downstream_task_ids == {"train", "data_down"}
    assert pipeline.get_task("train").downstream_task_ids == {"eval", "train_down"}


def test_rule_14_train_and_eval_share_a_cluster_that_preprocessing_does_not(bag: DagBag) -> None:
    tasks = {task.task_id: command(task) for task in dag(bag, "sky_k8s_train_pipeline").tasks if command(task)}
    assert {name: words[-1] for name, words in tasks.items()} == {
        "data_preprocessing": "data",
        "data_down": "data",
        "train": "train",
        "eval": "train",
        "train_down": "train",
    }


@pytest.mark.parametrize("dag_id", ["sky_k8s_example", "sky_k8s_example_xcoms", "sky_k8s_train_pipeline"])
def test_rule_03_every_cluster_has_a_teardown_after_all_of_its_tasks(bag: DagBag, dag_id: str) -> None:
    tasks = dag(bag, dag_id).tasks
    downs = {command(task)[1]: task for task in tasks if task.is_teardown and command(task)}
    launches = [task for task in tasks if command(task)[:1] == ["run"]]
    assert launches
    for task in launches:
        assert task.task_id in downs[command(task)[-1]].upstream_task_ids


def test_what_stands_after_the_pipelines_teardowns_is_not_skipped_in_a_run_that_is_marked_failed(bag: DagBag) -> None:
    last = dag(bag, "sky_k8s_train_pipeline").get_task("nothing_left")
    assert last.is_teardown
    assert last.on_failure_fail_dagrun
    assert last.upstream_task_ids == {"data_down", "train_down"}


def test_a_pod_that_is_deferred_shows_the_jobs_lines_while_it_runs_and_is_deleted_after(bag: DagBag) -> None:
    for dag_id in DAGS - {"sky_k8s_costs"}:
        for task in dag(bag, dag_id).tasks:
            if command(task):
                assert (task.logging_interval, task.on_finish_action.value, task.deferrable) == (5, "delete_pod", True)
