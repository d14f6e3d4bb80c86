"""The shipped workflows: their order, their clusters, and how they end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.artifacts import Artifact

from flows import portal
from flows.examples.conditional_workflow import conditional_workflow
from flows.examples.hyperparameter_sweep import hyperparameter_sweep
from flows.examples.sky_k8s_example import TASK
from flows.examples.training_with_artifacts import loss_curve, training_with_artifacts
from flows.scope import shared_cluster, sky_teardowns
from flows.sky_train_flow import run_sky_task, sky_gpu_workflow, sky_parallel_workflow, sky_train_workflow
from sky_orchestrate.errors import SkyJobFailed, SkyTeardownFailed
from sky_orchestrate.settings import Settings
from sky_orchestrate.task import load_task
from tests.contract import FAST
from tests.fake_sky import FakeServer, Speed
from tests.flows.conftest import at_once, order


async def test_the_pipeline_shares_a_cluster_between_train_and_eval(sky: FakeServer) -> None:
    result = await sky_train_workflow(envs={"EPOCHS": "7"})
    assert result["accuracy"] == 0.97
    assert list(result["steps"]) == ["data_preprocessing", "train", "eval"]
    assert result["steps"]["train"]["outputs"]["epochs"] == 7
    assert order(sky, "launch") == ["data", "train"]
    assert len(order(sky, "exec")) == 1
    assert result["steps"]["train"]["cluster_name"] == result["steps"]["eval"]["cluster_name"]
    assert sorted(order(sky, "down")) == ["data", "train"]
    assert UUID(result["steps"]["data_preprocessing"]["outputs"]["run_name"])


async def test_the_pipeline_gives_each_step_a_cluster_of_its_own_where_asked_and_waits_for_none_to_go_down(sky: FakeServer) -> None:
    sky.speed = Speed(down=0.3)
    result = await sky_train_workflow(share_cluster=False)
    assert result["accuracy"] == 0.97
    assert order(sky, "launch") == ["data", "train", "eval"]
    assert sorted(order(sky, "down")) == ["data", "eval", "train"]
    assert [step["timings"]["torn_down"] for step in result["steps"].values()] == [None] * 3
    assert sky.left == []


async def test_a_failing_step_ends_the_pipeline_and_nothing_is_left(sky: FakeServer, project: Path) -> None:
    (project / "tasks" / "train.yaml").write_text("name: train\nrun: |\n  echo out of memory\n  exit 137\n")
    with pytest.raises(SkyJobFailed, match="out of memory"):
        await sky_train_workflow()
    assert "eval" not in order(sky, "launch")
    assert sky.left == []


async def test_a_teardown_that_fails_fails_the_run_and_names_the_cluster(sky: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal.portal(), "pace", replace(FAST, patience=0.2, teardown=0.5))
    sky.speed = Speed(down=0.3)

    @flow
    async def scoped() -> None:
        async with sky_teardowns():
            await run_sky_task(yaml_path="tasks/train.yaml")
            sky.answers = False

    with pytest.raises(SkyTeardownFailed, match=r"sky down proj-train"):
        await scoped()
    sky.answers = True
    for name in list(sky.clusters):
        await sky.client().down(name)


async def test_a_shared_cluster_goes_down_after_a_failure_too(sky: FakeServer) -> None:
    @flow
    async def sharing() -> None:
        async with shared_cluster("gpu") as cluster:
            await run_sky_task(yaml_path="tasks/train.yaml", cluster=cluster)
            raise RuntimeError("between two steps")

    with pytest.raises(RuntimeError, match="between"):
        await sharing()
    assert order(sky, "down") == ["gpu"]


async def test_the_gpu_workflow_asks_for_its_gpus(sky: FakeServer) -> None:
    text = "name: tune\nresources: {accelerators: 'A100:8'}\nrun: |\n  echo tuned\n"
    result = await sky_gpu_workflow(task_yaml=text, gpu_type="L4", num_gpus=2)
    assert "tuned" in result["log_tail"]
    assert "'accelerators': 'L4:2'" in sky.bodies[0]


async def test_parallel_tasks_run_side_by_side_but_no_more_than_asked(sky: FakeServer) -> None:
    sky.speed = Speed(launch=0.05, down=0.0)
    tasks: list[dict[str, Any]] = [{"yaml_path": "tasks/train.yaml", "envs_override": {"EPOCHS": str(number)}} for number in range(5)]
    results = await sky_parallel_workflow(tasks=tasks, max_parallel=2)
    assert [result["outputs"]["epochs"] for result in results] == [0, 1, 2, 3, 4]
    # Two run, and one that is done may still go down.
    assert 2 <= at_once(sky) <= 3


async def test_one_parallel_tasks_failure_waits_for_the_others(sky: FakeServer) -> None:
    with pytest.raises(SkyJobFailed):
        await sky_parallel_workflow(tasks=[{"yaml_path": "tasks/broken.yaml"}, {"yaml_path": "tasks/train.yaml"}])
    assert len(sky.submissions) == 4, "three attempts of the one, and the other to its end"


async def test_the_sweep_ranks_its_trials_in_a_table(sky: FakeServer) -> None:
    table = await hyperparameter_sweep(learning_rates=[0.1, 0.3, 0.2], batch_sizes=[32], max_parallel=2)
    assert [row["learning_rate"] for row in table] == [0.3, 0.2, 0.1]
    artifact = await Artifact.aget("hyperparameter-sweep")
    assert artifact is not None
    assert '"rank": 1' in str(artifact.data)


async def test_the_conditional_workflow_trains_on_below_the_target(sky: FakeServer) -> None:
    outputs = await conditional_workflow(target_accuracy=0.5, epochs=2)
    assert outputs["epochs"] == 8
    assert len(order(sky, "exec")) == 1


async def test_the_artifacts_hold_metrics_a_loss_curve_and_a_link(sky: FakeServer) -> None:
    await training_with_artifacts()
    report, model = await asyncio.gather(*(Artifact.aget(key) for key in ("training-results", "model")))
    assert report is not None
    assert "| Validation accuracy | 0.1000 |" in str(report.data)
    assert f"![Training loss]({loss_curve([2.0, 1.0, 0.5])})" in str(report.data)
    assert model is not None
    assert "s3://bucket/" in str(model.data)


def test_the_loss_curve_is_a_picture_even_of_nothing() -> None:
    for losses in ([], [0.0], [1.0], [2.0, 1.0]):
        assert loss_curve(losses).startswith("data:image/svg+xml;base64,")


def test_the_kubernetes_example_is_a_task(tmp_path: Path) -> None:
    spec = load_task(yaml_text=TASK, infra="k8s/my-context", settings=Settings(root=tmp_path, slug="proj", owner="proj"))
    assert spec.config["resources"]["infra"] == "k8s/my-context"
