"""The pipeline as a workflow, on Temporal's own server and a SkyPilot in memory."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from temporalio.client import WorkflowUpdateFailedError

from sky_orchestrate.cluster import JobStatus
from sky_orchestrate.patience import within
from temporal.messages import SkyPilotWorkflowResult
from temporal.workflows import STEPS, SkyPilotWorkflow
from tests.fake_sky import Speed
from tests.temporal.conftest import Site, cancelled, failed, requests, running, until, write_task


async def test_the_steps_run_in_order_and_evaluation_on_the_training_cluster(site: Site) -> None:
    async with site.working():
        handle = await site.start_pipeline()
        result: SkyPilotWorkflowResult = await handle.result()
    assert result.accuracy == 0.97
    assert set(result.steps) == set(STEPS)
    assert result.steps["train"].cluster_name == result.steps["eval"].cluster_name
    assert result.steps["data_preprocessing"].outputs == {"run_name": handle.first_execution_run_id}
    done = requests(site.sky)
    assert [one for one in done if "down" not in one] == ["launch data", "launch train", "exec train"]
    assert sorted(one for one in done if "down" in one) == ["down data", "down train"]
    assert len(site.sky.submissions) == 3


async def test_rule_13_training_starts_while_the_first_cluster_goes_down(site: Site) -> None:
    site.sky.speed = Speed(down=1.5)
    async with site.working():
        handle = await site.start_pipeline()
        await until(lambda: any("-train-" in name for name in site.sky.submissions))
        assert [request.kind for request in site.sky.active()] == ["down"]
        result: SkyPilotWorkflowResult = await handle.result()
    assert result.steps["data_preprocessing"].timings.torn_down


async def test_rule_02_a_failing_job_fails_the_workflow_with_its_last_lines(site: Site, project: Path) -> None:
    write_task(project, "train", "echo the disk is full\nexit 3")
    async with site.working():
        handle = await site.start_pipeline(attempts=2)
        error = await failed(handle)
    assert error.type == "SkyJobFailed"
    assert error.details[0]["exit_code"] == 3
    assert "the disk is full" in error.details[0]["log_tail"]
    assert sum("-train-" in name for name in site.sky.submissions) == 2


async def test_a_broken_task_file_is_told_before_anything_is_launched(site: Site, project: Path) -> None:
    write_task(project, "eval", "echo x", more="resourcez: {cpus: 2}")
    async with site.working():
        error = await failed(await site.start_pipeline())
    assert error.type == "TaskFileError"
    assert "eval.yaml" in error.message
    assert "resourcez" in error.message
    assert requests(site.sky) == []


async def test_an_activity_that_fails_is_one_line_of_the_workers_log(site: Site, project: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_task(project, "eval", "echo x", more="resourcez: {cpus: 2}")
    caplog.set_level(logging.INFO)
    async with site.working():
        await failed(await site.start_pipeline())
    told = [record for record in caplog.records if "resourcez" in record.getMessage() or "failed" in record.getMessage()]
    assert [(record.name, record.exc_info) for record in told] == [("temporal.activities", None)]


@pytest.mark.parametrize("moment", ["launching", "running"])
async def test_rule_06_a_cancel_takes_the_cluster_down(site: Site, project: Path, moment: str) -> None:
    write_task(project, "data_preprocessing", "sleep 1000")
    if moment == "launching":
        site.sky.speed = Speed(launch=30)
    async with site.working():
        handle = await site.start_pipeline()
        await until(lambda: running(site.sky, "data") if moment == "running" else site.sky.active())
        await cancelled(handle)
    assert sum(line.startswith("launch") for line in site.sky.log) == 1


async def test_an_unreachable_endpoint_is_one_clear_line(site: Site) -> None:
    site.sky.answers = False
    async with site.working():
        error = await failed(await site.start_pipeline())
    assert error.type == "EndpointUnreachable"
    assert len(error.message.splitlines()) == 1
    site.sky.answers = True


async def test_rule_08_a_lost_cluster_is_launched_again(site: Site, project: Path) -> None:
    write_task(project, "data_preprocessing", "sleep 20")
    async with site.working():
        handle = await site.start_pipeline()
        await until(lambda: running(site.sky, "data"))
        next(iter(site.sky.clusters.values())).lose()
        await handle.result()
    assert sum("-data-" in name for name in site.sky.submissions) == 2


async def test_the_status_tells_step_cluster_and_job(site: Site, project: Path) -> None:
    write_task(project, "train", "sleep 1000")
    async with site.working():
        handle = await site.start_pipeline()
        await until(lambda: running(site.sky, "train"))
        async with within(15):
            # The job runs before the workflow hears its number.
            while not (status := await handle.query(SkyPilotWorkflow.status)).job_id:
                await asyncio.sleep(0.02)
        assert (status.step, status.job_id, list(status.finished)) == ("train", 1, ["data_preprocessing"])
        assert status.cluster_name.startswith("proj-train-")
        memo = await (await handle.describe()).memo()
        assert memo["step"] == "train"
        assert memo["cluster"] == status.cluster_name
        await cancelled(handle)


async def test_the_evaluation_can_be_skipped_until_it_begins(site: Site, project: Path) -> None:
    write_task(project, "train", "sleep 30")
    write_task(project, "eval", "sleep 1000")
    async with site.working():
        handle = await site.start_pipeline()
        await until(lambda: running(site.sky, "train"))
        assert await handle.execute_update(SkyPilotWorkflow.skip_evaluation) == "the evaluation will be skipped"
        result: SkyPilotWorkflowResult = await handle.result()
        assert set(result.steps) == set(STEPS[:2])
        assert result.accuracy is None
        late = await site.start_pipeline()
        await until(lambda: running(site.sky, "eval"))
        with pytest.raises(WorkflowUpdateFailedError):
            await late.execute_update(SkyPilotWorkflow.skip_evaluation)
        await cancelled(late)


async def test_a_kept_cluster_stays_without_autodown_and_is_marked(site: Site) -> None:
    async with site.working():
        await (await site.start_pipeline(keep_cluster=True)).result()
    (kept,) = [cluster for cluster in site.sky.clusters.values() if cluster.exists]
    assert kept.labels["keep"] == "1"
    assert kept.autodown is None
    await site.sky.client().down(kept.name)


@pytest.mark.parametrize("after", ["the last step", "a failed job", "a failed job on the shared cluster"])
async def test_rule_03_a_cancel_during_a_teardown_waits_for_its_end(site: Site, project: Path, after: str) -> None:
    site.sky.speed = Speed(down=1.0)
    if after == "a failed job":
        write_task(project, "train", "exit 1")
    if after == "a failed job on the shared cluster":
        write_task(project, "eval", "exit 1")
    async with site.working():
        handle = await site.start_pipeline(attempts=1)
        await until(lambda: any(line.startswith("down proj-train") for line in site.sky.log))
        await cancelled(handle)
        assert site.sky.left == []
    assert sum(line.startswith("down proj-train") for line in site.sky.log) == 1


async def test_rule_06_a_cancel_between_two_attempts_takes_a_cluster_down_that_would_be_kept(site: Site, project: Path) -> None:
    write_task(project, "train", "exit 1")
    async with site.working():
        handle = await site.start_pipeline(keep_cluster=True, retry_delay=1000.0)
        await until(lambda: any("-train-" in name for name in site.sky.submissions))
        await until(lambda: any(job.status is JobStatus.FAILED for cluster in site.sky.clusters.values() for job in cluster.jobs))
        await asyncio.sleep(0.5)
        await cancelled(handle)
        assert site.sky.left == []


async def test_an_accuracy_that_is_no_number_is_none(site: Site, project: Path) -> None:
    write_task(project, "eval", """echo '::sky-output::{"accuracy": "high"}'""")
    async with site.working():
        result: SkyPilotWorkflowResult = await (await site.start_pipeline()).result()
    assert result.accuracy is None
    assert result.steps["eval"].outputs == {"accuracy": "high"}
