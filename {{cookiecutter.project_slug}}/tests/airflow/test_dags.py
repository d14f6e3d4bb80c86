"""The DAGs of dags/: they load without a word, quickly and without SkyPilot, and hold together as the contract wants."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag

from tests.conftest import ROOT

DAGS = {"sky_k8s_train_pipeline", "sky_provider_example", "sky_reaper", "sky_sweep"}

# In a process of its own, as the DAG processor parses: seconds, whether SkyPilot was imported, warnings.
_PARSE = """
import json, pathlib, sys, time, warnings
from airflow.sdk import DAG, BaseHook, BaseOperator, Param, Variable, task
from airflow.providers.standard.operators.empty import EmptyOperator
import airflow.triggers.base
warnings.simplefilter("always")
with warnings.catch_warnings(record=True) as warned:
    began = time.perf_counter()
    exec(compile(pathlib.Path(sys.argv[1]).read_text(), sys.argv[1], "exec"), {"__file__": sys.argv[1], "__name__": "parsed"})
    took = time.perf_counter() - began
print(json.dumps([took, "sky" in sys.modules, [str(one.message) for one in warned]]))
"""


@pytest.fixture(scope="module")
def bag() -> DagBag:
    return DagBag(ROOT / "dags")


def dag(bag: DagBag, dag_id: str) -> Any:
    return bag.dags[dag_id]


def test_all_load_without_errors_or_warnings(bag: DagBag) -> None:
    assert bag.import_errors == {}
    assert bag.captured_warnings == {}
    assert set(bag.dags) == DAGS


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "dags").glob("*.py")))
def test_parsing_imports_no_skypilot_and_takes_50_ms_at_most(name: str) -> None:
    parsed: Any = None
    # The first parse compiles; the quickest of a few tells of the machine least.
    for _ in range(4):
        done = subprocess.run(
            [sys.executable, "-c", _PARSE, str(ROOT / "dags" / name)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
        )
        told = json.loads(done.stdout.splitlines()[-1])
        parsed = told if parsed is None or told[0] < parsed[0] else parsed
        if parsed[0] < 0.05:
            break
    took, imported, warned = parsed
    assert (imported, warned) == (False, [])
    assert took < 0.05


def test_rule_13_the_first_cluster_goes_down_beside_training(bag: DagBag) -> None:
    pipeline = dag(bag, "sky_k8s_train_pipeline")
    assert pipeline.get_task("data_preprocessing").downstream_task_ids == {"train", "data_down"}
    assert pipeline.get_task("train").downstream_task_ids == {"eval", "train_down"}


def test_rule_14_train_and_eval_share_a_cluster_that_preprocessing_does_not(bag: DagBag) -> None:
    clusters = {task.task_id: task.cluster for task in dag(bag, "sky_k8s_train_pipeline").tasks if hasattr(task, "cluster")}
    assert clusters == {"data_preprocessing": "data", "data_down": "data", "train": "train", "eval": "train", "train_down": "train"}


@pytest.mark.parametrize("dag_id", ["sky_k8s_train_pipeline", "sky_provider_example"])
def test_rule_03_every_shared_cluster_has_a_teardown_after_all_of_its_tasks(bag: DagBag, dag_id: str) -> None:
    tasks = dag(bag, dag_id).tasks
    downs = {task.cluster: task for task in tasks if task.is_teardown}
    for task in tasks:
        if getattr(task, "cluster", None) and not task.is_teardown:
            assert task.task_id in downs[task.cluster].upstream_task_ids
    for down in downs.values():
        assert down.downstream_task_ids == {"nothing_left"}
        # With this on, a teardown that succeeds would hide a task that failed.
        assert not down.on_failure_fail_dagrun


def test_the_pipelines_params_are_typed(bag: DagBag) -> None:
    params = dag(bag, "sky_k8s_train_pipeline").params
    assert {name: params.get_param(name).schema["type"] for name in params} == {
        "epochs": "integer",
        "data_bucket_url": "string",
        "data_bucket_name": "string",
        "data_bucket_store_type": "string",
    }


def test_the_sweeps_trials_are_mapped_and_bounded_by_a_pool(bag: DagBag) -> None:
    trial = dag(bag, "sky_sweep").get_task("trial")
    assert trial.is_mapped
    assert trial.pool == "sky_sweep"


def test_the_reaper_runs_every_fifteen_minutes_one_at_a_time(bag: DagBag) -> None:
    reaper = dag(bag, "sky_reaper")
    assert (reaper.timetable.summary, reaper.max_active_runs, reaper.catchup) == ("0:15:00", 1, False)
