"""The DAGs of dags/: they load without a word, quickly and without SkyPilot, and hold together as the contract wants."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag

from tests.airflow.conftest import HOME
from tests.conftest import ROOT

DAGS = {"sky_k8s_train_pipeline", "sky_provider_example", "sky_reaper", "sky_sweep"}
FILES = sorted((ROOT / "dags").glob("*.py"))

# As the DAG processor parses: each file in a fork of a process that has Airflow's own modules. The first round compiles.
_PARSE = """
import json, os, pathlib, sys, time, warnings
from airflow.sdk import DAG, BaseHook, BaseOperator, Param, Variable, task
from airflow.providers.standard.operators.empty import EmptyOperator
import airflow.triggers.base
for name in sys.argv[1:] * 5:
    if os.fork():
        os.wait()
        continue
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        began = time.process_time()
        exec(compile(pathlib.Path(name).read_text(), name, "exec"), {"__file__": name, "__name__": "parsed"})
        took = time.process_time() - began
    print(json.dumps([pathlib.Path(name).name, took, "sky" in sys.modules, [str(one.message) for one in warned]]), flush=True)
    os._exit(0)
"""


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Per file, and for one with an empty DAG: processor seconds of its quickest parse, whether SkyPilot was imported, warnings."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    empty = tmp_path_factory.mktemp("dags") / "empty.py"
    empty.write_text("from airflow.sdk import DAG\nwith DAG(dag_id='empty', schedule=None):\n    pass\n")
    command = [sys.executable, "-c", _PARSE, str(empty), *map(str, FILES)]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120, check=True)
    told: dict[str, list[Any]] = {}
    for line in done.stdout.splitlines():
        if line.startswith("["):
            name, *rest = json.loads(line)
            told[name] = min(told.get(name, rest), rest)
    return told


@pytest.fixture(scope="module")
def bag() -> DagBag:
    return DagBag(ROOT / "dags")


def dag(bag: DagBag, dag_id: str) -> Any:
    return bag.dags[dag_id]


def test_all_load_without_errors_or_warnings(bag: DagBag) -> None:
    assert bag.import_errors == {}
    assert bag.captured_warnings == {}
    assert set(bag.dags) == DAGS


@pytest.mark.parametrize("name", [path.name for path in FILES])
def test_parsing_imports_no_skypilot_and_costs_little_beyond_an_empty_dag(parsed: dict[str, list[Any]], name: str) -> None:
    took, imported, warned = parsed[name]
    assert (imported, warned) == (False, [])
    # SkyPilot's import alone is a hundred times an empty DAG; what a parse takes to the millisecond is for a quiet machine to tell.
    assert took < 10 * parsed["empty.py"][0]


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
    downs = {task.cluster: task for task in tasks if task.is_teardown and hasattr(task, "cluster")}
    for task in tasks:
        if getattr(task, "cluster", None) and not task.is_teardown:
            assert task.task_id in downs[task.cluster].upstream_task_ids
    for down in downs.values():
        assert down.downstream_task_ids == {"nothing_left"}
        # With this on, a teardown that succeeds would hide a task that failed.
        assert not down.on_failure_fail_dagrun


def test_what_stands_after_the_pipelines_teardowns_is_not_skipped_in_a_run_that_is_marked_failed(bag: DagBag) -> None:
    last = dag(bag, "sky_k8s_train_pipeline").get_task("nothing_left")
    assert last.is_teardown
    assert last.on_failure_fail_dagrun


def test_what_the_example_fetches_goes_to_airflows_own_folder(bag: DagBag) -> None:
    assert dag(bag, "sky_provider_example").get_task("sky_rsync_down_task").target == f"{HOME}/name of {{{{ run_id }}}}.txt"


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
    assert (reaper.schedule, reaper.max_active_runs, reaper.catchup) == (timedelta(minutes=15), 1, False)
