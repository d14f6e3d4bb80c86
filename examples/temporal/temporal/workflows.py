"""The pipeline as a workflow, and one SkyPilot task as a workflow of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from sky_orchestrate.outputs import figure
    from sky_orchestrate.result import TaskResult
    from temporal.messages import (
        GitCloneInput,
        PipelineStatus,
        SkyCommand,
        SkyExecCommand,
        SkyJob,
        SkyLaunchCommand,
        SkyPilotWorkflowInput,
        SkyPilotWorkflowResult,
        SkyTaskInput,
    )
    from temporal.steps import SkySteps, read_tasks

STEPS = PREPROCESS, TRAIN, EVAL = "data_preprocessing", "train", "eval"


@workflow.defn
class SkyPilotWorkflow:
    """Clone, preprocess on a cluster of its own, train, evaluate on the training cluster, everything down.

    The teardown of the first cluster does not hold up training. The query `status` and the memo tell where a run is.
    """

    def __init__(self) -> None:
        self._status = PipelineStatus()

    @workflow.run
    async def run(self, given: SkyPilotWorkflowInput) -> SkyPilotWorkflowResult:
        folder = given.tasks_folder if given.tasks_folder is not None else "" if given.repo_url else "tasks"
        paths = {step: f"{folder}/{step}.yaml".lstrip("/") for step in STEPS}
        envs = {"RUN_NAME": workflow.info().run_id, **(given.envs_override or {})}
        self._tell(step="clone")
        source = GitCloneInput(
            list(paths.values()), {}, given.repo_url, given.branch, envs, given.secrets, given.infra, given.api_server_endpoint
        )
        files = await read_tasks(source)
        prefix = given.cluster_prefix or files.prefix
        common: dict[str, Any] = {
            "envs_override": envs,
            "repo_url": given.repo_url,
            "commit": files.commit,
            "secrets": given.secrets,
            "infra": given.infra,
            "wait_for_capacity": given.wait_for_capacity,
        }

        def task(step: str) -> dict[str, Any]:
            return {"yaml_content": files.yaml_contents[paths[step]], "yaml_path": paths[step], **common}

        async with SkySteps(
            prefix,
            endpoint=given.api_server_endpoint,
            attempts=given.attempts,
            retry_delay=given.retry_delay,
            limits=given.limits,
            note=self._note,
        ) as steps:

            async def run(step: str, command: SkyCommand) -> None:
                self._tell(step=step, cluster_name=command.cluster_name, job_id=0)
                result = await steps.run(step, command)
                told = figure(result.outputs.get("accuracy"))
                accuracy = self._status.accuracy if told is None else told
                self._tell(finished={**self._status.finished, step: result}, accuracy=accuracy)

            first, shared = steps.name(PREPROCESS), steps.name(TRAIN)
            await run(PREPROCESS, SkyLaunchCommand(cluster_name=first, **task(PREPROCESS)))
            steps.take_down(first)
            await run(TRAIN, SkyLaunchCommand(cluster_name=shared, keep=given.keep_cluster, **task(TRAIN)))
            if not self._status.skip_evaluation:
                on_shared = {"cluster_name": shared, "job_name": steps.name(EVAL), "keep": given.keep_cluster}
                await run(EVAL, SkyExecCommand(**on_shared, **task(EVAL)))
            if given.keep_cluster:
                steps.keep(shared)
            self._tell(step="teardown")
            took = await steps.all_gone()
        self._tell(step="done")
        return SkyPilotWorkflowResult(self._status.accuracy, _with_teardowns(self._status.finished, took))

    @workflow.query
    def status(self) -> PipelineStatus:
        """Where the run is, and the results of the steps that have ended."""
        return self._status

    @workflow.update
    def skip_evaluation(self) -> str:
        """End after training, and take its cluster down then."""
        self._status = replace(self._status, skip_evaluation=True)
        return "the evaluation will be skipped"

    @skip_evaluation.validator
    def evaluation_is_to_come(self) -> None:
        if self._status.step in (EVAL, "teardown", "done"):
            raise ApplicationError("the evaluation has begun; it can be cancelled with the workflow", type="TooLate")

    def _note(self, step: str, job: SkyJob) -> None:
        self._tell(step=step, cluster_name=job.cluster_name, job_id=job.job_id)

    def _tell(self, **changes: Any) -> None:
        status = self._status = replace(self._status, **changes)
        told = {"step": status.step, "cluster": status.cluster_name, "job": status.job_id, "accuracy": status.accuracy}
        workflow.upsert_memo({name: value for name, value in told.items() if value})


def _with_teardowns(steps: dict[str, TaskResult], took: dict[str, float]) -> dict[str, TaskResult]:
    """The results with the times of the teardowns. That of a shared cluster counts for its last step."""
    last = {result.cluster_name: step for step, result in steps.items()}
    return {
        step: replace(result, timings=replace(result.timings, torn_down=took.get(result.cluster_name)))
        if last[result.cluster_name] == step
        else result
        for step, result in steps.items()
    }


@workflow.defn
class SkyTaskWorkflow:
    """One SkyPilot task on a cluster of its own, and nothing left: what a pipeline of your own starts as a child."""

    @workflow.run
    async def run(self, given: SkyTaskInput) -> TaskResult:
        path = given.yaml_path or "task YAML"
        source = GitCloneInput(
            [path],
            {path: given.yaml_content} if given.yaml_content else {},
            given.repo_url,
            given.branch,
            given.envs_override,
            given.secrets,
            given.infra,
            given.api_server_endpoint,
        )
        files = await read_tasks(source)
        name = files.names.get(path, "task")
        async with SkySteps(
            given.cluster_prefix or files.prefix,
            endpoint=given.api_server_endpoint,
            attempts=given.attempts,
            retry_delay=given.retry_delay,
            limits=given.limits,
            note=_note,
        ) as steps:
            cluster = steps.name(name)
            command = SkyLaunchCommand(
                cluster_name=cluster,
                yaml_content=files.yaml_contents[path],
                yaml_path=path,
                envs_override=given.envs_override,
                repo_url=given.repo_url,
                commit=files.commit,
                secrets=given.secrets,
                infra=given.infra,
                resources=given.resources,
                wait_for_capacity=given.wait_for_capacity,
                keep=not given.down_on_completion,
            )
            result = await steps.run(name, command)
            if not given.down_on_completion:
                steps.keep(cluster)
            took = await steps.all_gone()
        return replace(result, timings=replace(result.timings, torn_down=took.get(cluster)))


def _note(_step: str, job: SkyJob) -> None:
    workflow.upsert_memo({"cluster": job.cluster_name, "job": job.job_id})
