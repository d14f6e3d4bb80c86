"""run_workflow.py and run_worker.py: what they ask for, what they tell, and errors without a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, RetryState, TerminatedError

from run_workflow import _parser, _Story, pipeline_input, run  # pyright: ignore[reportPrivateUsage]
from sky_orchestrate.errors import SettingsError, SkyOrchestrateError
from sky_orchestrate.settings import Settings
from temporal.following import RunFailed, failure, follow
from temporal.messages import PipelineStatus, SkyPilotWorkflowInput, SkyTaskInput
from temporal.worker import serve
from temporal.workflows import SkyTaskWorkflow
from tests.conftest import ROOT
from tests.temporal.conftest import Site, cancelled, write_task
from tests.temporal.dev_server import free_ports


def asked(*arguments: str, **variables: str) -> SkyPilotWorkflowInput:
    return pipeline_input(_parser().parse_args(arguments), Settings(root=Path(), slug="proj", owner="proj", variables=variables))


def activity_error(cause: BaseException) -> WorkflowFailureError:
    error = ActivityError(
        "Activity task failed",
        scheduled_event_id=1,
        started_event_id=2,
        identity="worker",
        activity_type="run_sky_wait",
        activity_id="1",
        retry_state=RetryState.NON_RETRYABLE_FAILURE,
    )
    error.__cause__ = cause
    return WorkflowFailureError(cause=error)


def test_without_options_the_projects_own_pipeline_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKYPILOT_BUCKET_URL", raising=False)
    assert asked() == SkyPilotWorkflowInput(envs_override={}, secrets={})


def test_the_guides_bucket_is_the_pipelines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKYPILOT_BUCKET_URL", raising=False)
    assert asked(SKYPILOT_BUCKET_URL="s3://team").envs_override == {"DATA_BUCKET_URL": "s3://team"}
    given = asked("--env", "DATA_BUCKET_URL=s3://mine", SKYPILOT_BUCKET_URL="s3://team")
    assert given.envs_override == {"DATA_BUCKET_URL": "s3://mine"}


def test_envs_and_secrets_are_pairs_and_a_secret_is_a_name() -> None:
    given = asked("--env", "A=1", "--env", "B=x=y", "--env", "C=", "--secret", "HF_TOKEN", "--secret", "WANDB=TEAM_WANDB")
    assert given.envs_override is not None
    assert {name: given.envs_override[name] for name in "ABC"} == {"A": "1", "B": "x=y", "C": ""}
    assert given.secrets == {"HF_TOKEN": "HF_TOKEN", "WANDB": "TEAM_WANDB"}


@pytest.mark.parametrize("arguments", [("--env", "A"), ("--env", "=1"), ("--secret", "=A")])
def test_what_is_no_pair_is_one_clear_line(arguments: tuple[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"^--(env|secret) .* would be right as NAME=VALUE$"):
        asked(*arguments)


def test_the_innermost_reason_is_told_in_one_line() -> None:
    reason = ApplicationError("job 1 ended FAILED with exit code 3", {"log_tail": ["disk full"]}, type="SkyJobFailed")
    told = failure(activity_error(reason), "sky-pipeline-1")
    assert str(told) == "sky-pipeline-1: job 1 ended FAILED with exit code 3"
    assert told.log_tail == ("disk full",)


def test_a_cancel_is_told_as_such() -> None:
    assert str(failure(activity_error(CancelledError()), "sky-pipeline-1")) == "sky-pipeline-1 was cancelled; its clusters are gone"


def test_the_story_tells_each_thing_once(capsys: pytest.CaptureFixture[str]) -> None:
    story = _Story()
    for status in (PipelineStatus("clone"), PipelineStatus("train", "proj-train-1", 1), PipelineStatus("train", "proj-train-1", 1, 0.5)):
        story.tell(status)
    assert [line.split("s  ", 1)[1] for line in capsys.readouterr().out.splitlines()] == ["clone", "train on proj-train-1, job 1"]


async def test_a_run_is_followed_to_its_end(site: Site) -> None:
    told: list[PipelineStatus] = []
    async with site.working():
        result = await follow(await site.start_pipeline(), told.append, every=0.05)
    assert result.accuracy == 0.97
    assert told[-1].step == "done"


async def test_a_run_that_fails_is_told_with_its_last_lines(site: Site, project: Path) -> None:
    write_task(project, "data_preprocessing", "echo the disk is full\nexit 3")
    async with site.working():
        with pytest.raises(RunFailed, match=r"^test-\w+: job 1 on proj-data-prepr-\w+ ended FAILED with exit code 3$") as told:
            await follow(await site.start_pipeline(attempts=1), lambda _: None, every=0.05)
    assert "the disk is full" in told.value.log_tail


@pytest.mark.parametrize("command", ["run_worker.py", "run_workflow.py"])
def test_each_command_says_what_it_does_and_fails_without_a_traceback(command: str) -> None:
    environ = {**os.environ, "TEMPORAL_ADDRESS": f"127.0.0.1:{free_ports(1)[0]}", "SKY_ORCHESTRATE_INFRA": "k8s"}
    code = f"import sys; sys.argv = [{command!r}, '--help']; import {command[:-3]} as c; c.main()"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0
    assert "usage:" in told.stdout
    told = subprocess.run([sys.executable, command], cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert len(told.stderr.splitlines()) == 1
    assert told.stderr.startswith("error: ")


@pytest.mark.parametrize("name", ["", "x" * 2000, "\u00fc" * 900])
async def test_an_id_that_temporal_refuses_is_one_clear_line(site: Site, name: str) -> None:
    options = _parser().parse_args(["--id", name])
    with pytest.raises(SkyOrchestrateError) as told:
        await run(options, settings_of(site))
    assert len(str(told.value).splitlines()) == 1


async def test_a_namespace_that_is_not_there_is_one_clear_line(site: Site) -> None:
    with pytest.raises(SkyOrchestrateError, match="nowhere"):
        await run(_parser().parse_args([]), settings_of(site, TEMPORAL_NAMESPACE="nowhere"))
    with pytest.raises(SkyOrchestrateError, match="nowhere"):
        await serve(settings_of(site, TEMPORAL_NAMESPACE="nowhere"), with_reaper=True)
    with pytest.raises(SkyOrchestrateError, match="nowhere"):
        await serve(settings_of(site, TEMPORAL_NAMESPACE="nowhere"), with_reaper=False)


async def test_the_id_of_a_run_that_has_ended_starts_no_second_one(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    options = _parser().parse_args(["--id", f"again-{site.task_queue}"])
    async with site.working():
        assert await run(options, settings_of(site)) == 0
        submitted = len(site.sky.submissions)
        assert await run(options, settings_of(site)) == 0
    assert len(site.sky.submissions) == submitted
    assert "has ended" in capsys.readouterr().out


async def test_following_a_run_of_another_workflow_is_one_clear_line(site: Site) -> None:
    async with site.working():
        other = await site.start(SkyTaskWorkflow.run, SkyTaskInput(yaml_path="tasks/slow.yaml"))
        with pytest.raises(SkyOrchestrateError, match="SkyTaskWorkflow"):
            await run(_parser().parse_args(["--id", other.id]), settings_of(site))
        await cancelled(other)


def settings_of(site: Site, **variables: str) -> Settings:
    address = site.client.service_client.config.target_host
    return replace(site.settings, variables={"TEMPORAL_ADDRESS": address, "TEMPORAL_TASK_QUEUE": site.task_queue, **variables})


def test_a_terminated_run_is_told_with_what_it_may_have_left() -> None:
    assert "reap" in str(failure(WorkflowFailureError(cause=TerminatedError("Workflow terminated")), "sky-pipeline-1"))
