"""A sweep: its trials a few at a time, ranked, and none of them left over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError, ChildWorkflowError

from sky_orchestrate.result import TaskResult
from temporal.messages import SkySweepInput, SkySweepResult, SkyTaskInput, Trial
from temporal.sweep import MOST_TRIALS, SkySweepWorkflow, preparation, ranked, root
from temporal.workflows import SkyTaskWorkflow
from tests.temporal.conftest import Site, cancelled, failed, until, write_task

TASK = SkyTaskInput(yaml_path="tasks/train.yaml", attempts=1, retry_delay=0.01)


def sweep(*rates: str, **given: Any) -> SkySweepInput:
    return SkySweepInput(**{"trials": [{"LEARNING_RATE": rate} for rate in rates], "task": TASK, "prepare": "", **given})


def test_the_best_comes_first_and_what_failed_comes_last() -> None:
    trials = [Trial(1, value=0.1), Trial(2), Trial(3, value=-0.5), Trial(4, value=0.9), Trial(5, value=0.1), Trial(6)]
    assert [trial.number for trial in ranked(trials)] == [4, 1, 5, 3, 2, 6]


def test_the_trials_accelerators_are_not_taken_for_the_preparation() -> None:
    task = replace(TASK, infra="gcp", resources={"accelerators": "H100:8"}, down_on_completion=False)
    prepared = preparation(SkySweepInput(task=task, prepare="tasks/data_preprocessing.yaml"), {"RUN_NAME": "r"})
    assert (prepared.yaml_path, prepared.envs_override, prepared.infra) == ("tasks/data_preprocessing.yaml", {"RUN_NAME": "r"}, "gcp")
    assert prepared.resources is None
    assert prepared.down_on_completion


async def test_trials_are_ranked_and_one_without_a_metric_stops_no_other(site: Site) -> None:
    async with site.working():
        handle = await site.start(SkySweepWorkflow.run, sweep("0.2", "nothing", "0.7"))
        result: SkySweepResult = await handle.result()
    assert [(trial.number, trial.value) for trial in result.ranking] == [(3, 0.7), (1, 0.2), (2, None)]
    assert "validation_accuracy" in result.ranking[-1].told
    assert len({trial.cluster_name for trial in result.ranking}) == 3


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"trials": []}, id="no trials"),
        pytest.param({"max_parallel": 0}, id="none at once"),
        pytest.param({"trials": [{"SEED": str(seed)} for seed in range(MOST_TRIALS + 1)]}, id="too many"),
    ],
)
async def test_a_sweep_that_cannot_end_well_is_refused_at_once(site: Site, given: dict[str, Any]) -> None:
    async with site.working():
        error = await failed(await site.start(SkySweepWorkflow.run, sweep("0.1", **given)))
    assert error.type == "BadInput"
    assert site.sky.submissions == []


async def test_a_sweep_without_a_success_fails(site: Site, project: Path) -> None:
    write_task(project, "train", "echo the disk is full\nexit 3")
    async with site.working():
        error = await failed(await site.start(SkySweepWorkflow.run, sweep("0.1", "0.2")))
    assert error.type == "NoTrialSucceeded"
    assert "exit code 3" in error.message


async def test_no_more_clusters_are_up_than_asked_for(site: Site, project: Path) -> None:
    write_task(project, "train", "sleep 20\necho '::sky-output::{\"validation_accuracy\": $LEARNING_RATE}'")
    most = 0

    def looked() -> bool:
        nonlocal most
        most = max(most, len(site.sky.clusters))
        return len(site.sky.submissions) == 4 and not site.sky.clusters

    async with site.working():
        handle = await site.start(SkySweepWorkflow.run, sweep("0.1", "0.2", "0.3", "0.4", max_parallel=2))
        await until(looked)
        await handle.result()
    assert most == 2


async def test_a_long_sweep_continues_as_new_with_its_ranking_and_run_name(site: Site) -> None:
    async with site.working():
        given = sweep("0.1", "0.5", "0.3", children_per_run=2, prepare="tasks/data_preprocessing.yaml")
        handle = await site.start(SkySweepWorkflow.run, given)
        result: SkySweepResult = await handle.result()
    assert [(trial.number, trial.value) for trial in result.ranking] == [(2, 0.5), (3, 0.3), (1, 0.1)]
    assert {trial.told for trial in result.ranking} == {f"s3://bucket/{handle.first_execution_run_id}/model.npz"}
    assert (await site.client.get_workflow_handle(handle.id).describe()).run_id != handle.first_execution_run_id
    assert len(site.sky.submissions) == 4


async def test_rule_06_a_cancel_of_the_sweep_takes_the_clusters_of_its_trials_down(site: Site, project: Path) -> None:
    write_task(project, "train", "sleep 1000")
    async with site.working():
        handle = await site.start(SkySweepWorkflow.run, sweep("0.1", "0.2", "0.3"))
        await until(lambda: len(site.sky.submissions) == 3)
        await cancelled(handle)
        assert site.sky.left == []


async def test_what_prepares_is_its_own_task_with_the_envs_of_all(site: Site, project: Path) -> None:
    write_task(project, "data_preprocessing", "echo prepared with $LEARNING_RATE")
    text = (project / "tasks" / "train.yaml").read_text()
    task = replace(TASK, yaml_path="", yaml_content=text, envs_override={"LEARNING_RATE": "0.25"})
    async with site.working():
        handle = await site.start(SkySweepWorkflow.run, sweep("0.1", task=task, prepare="tasks/data_preprocessing.yaml"))
        await handle.result()
        prepared: TaskResult = await site.client.get_workflow_handle(f"{handle.id}-prepare", result_type=TaskResult).result()
    assert "prepared with 0.25" in prepared.log_tail


async def test_a_trial_whose_id_is_taken_stops_no_other(site: Site, project: Path) -> None:
    async with site.working():
        write_task(project, "slow", "sleep 1000")
        taken = await site.start(SkyTaskWorkflow.run, SkyTaskInput(yaml_path="tasks/slow.yaml"), id=f"sweep-{site.task_queue}-1")
        handle = await site.start(SkySweepWorkflow.run, sweep("0.1", "0.2"), id=f"sweep-{site.task_queue}")
        result: SkySweepResult = await handle.result()
        await cancelled(taken)
    assert [(trial.number, trial.value) for trial in result.ranking] == [(2, 0.2), (1, None)]
    assert "already" in result.ranking[1].told


async def test_a_trial_that_was_terminated_stops_no_other(site: Site, project: Path) -> None:
    write_task(project, "train", "sleep 30\necho '::sky-output::{\"validation_accuracy\": $LEARNING_RATE}'")
    async with site.working():
        handle = await site.start(SkySweepWorkflow.run, sweep("0.1", "0.2"))
        await until(lambda: len(site.sky.submissions) == 2)
        await site.client.get_workflow_handle(f"{handle.id}-1").terminate()
        result: SkySweepResult = await handle.result()
        for cluster in list(site.sky.clusters):
            await site.sky.client().down(cluster)
    assert [(trial.number, trial.value) for trial in result.ranking] == [(2, 0.2), (1, None)]
    assert result.ranking[1].told


def test_a_cluster_that_may_be_left_is_told_before_the_job_that_failed() -> None:
    left = ApplicationError("may still cost money, run `sky down`: proj-train-1", type="SkyTeardownFailed")
    left.__cause__ = ApplicationError("job 1 ended FAILED", type="SkyJobFailed")
    told = ChildWorkflowError(
        "Child Workflow execution failed",
        namespace="default",
        workflow_id="1",
        run_id="1",
        workflow_type="SkyTaskWorkflow",
        initiated_event_id=1,
        started_event_id=2,
        retry_state=None,
    )
    told.__cause__ = left
    assert "may still cost money" in root(told)
