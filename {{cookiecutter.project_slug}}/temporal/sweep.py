"""Trains once for each set of envs, a few clusters at a time, and ranks them. Each trial is a workflow of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import replace
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError, ChildWorkflowError, WorkflowAlreadyStartedError
from temporalio.workflow import ChildWorkflowCancellationType, ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from sky_orchestrate.outputs import figure
    from sky_orchestrate.result import TaskResult
    from temporal.failures import innermost
    from temporal.messages import SkySweepInput, SkySweepResult, SkyTaskInput, Trial
    from temporal.steps import heeding
    from temporal.workflows import SkyTaskWorkflow

# The ranking is one payload, of which Temporal takes 2 MB.
MOST_TRIALS = 3000
_LONGEST_REASON = 200


@workflow.defn
class SkySweepWorkflow:
    """A trial that fails is told in the ranking and stops no other; the sweep fails where none succeeds.

    Cancelled or terminated, it cancels its trials, and each takes its own cluster down.
    """

    def __init__(self) -> None:
        self._ended: list[Trial] = []
        self._of = 0

    @workflow.run
    async def run(self, given: SkySweepInput) -> SkySweepResult:
        if given.max_parallel < 1 or not given.trials:
            raise ApplicationError("a sweep wants trials, and max_parallel of 1 or more", type="BadInput", non_retryable=True)
        if len(given.trials) > MOST_TRIALS:
            told = f"{len(given.trials)} trials, and one sweep takes {MOST_TRIALS}: start several"
            raise ApplicationError(told, type="BadInput", non_retryable=True)
        self._ended, self._of = list(given.ended), len(given.trials)
        run_name = given.run_name or workflow.info().run_id
        if given.prepare and not given.run_name:
            envs = {**(given.task.envs_override or {}), "RUN_NAME": run_name}
            await self._child("prepare", preparation(given, envs))
        free = asyncio.Semaphore(given.max_parallel)
        done = len(self._ended)

        async def trial(number: int, envs: dict[str, str]) -> None:
            async with free:
                self._ended.append(await self._trial(given, number, {"RUN_NAME": run_name, **envs}))

        batch = given.trials[done : done + max(1, given.children_per_run)]
        await _all(trial(done + index, envs) for index, envs in enumerate(batch, 1))
        if len(self._ended) < len(given.trials):
            # A history has its limits; clusters have none here, for every trial of this run has ended.
            workflow.continue_as_new(replace(given, ended=self._ended, run_name=run_name))
        ranking = ranked(self._ended)
        if ranking[0].value is None:
            raise ApplicationError(
                f"none of the {len(ranking)} trials succeeded: {ranking[0].told}", type="NoTrialSucceeded", non_retryable=True
            )
        return SkySweepResult(ranking)

    @workflow.query
    def progress(self) -> str:
        """How many trials have ended, and the best so far."""
        best = ranked(self._ended)[0] if self._ended else None
        return f"{len(self._ended)} of {self._of} ended" + (
            f", best {best.value} with {best.envs}" if best and best.value is not None else ""
        )

    async def _trial(self, given: SkySweepInput, number: int, envs: dict[str, str]) -> Trial:
        told = Trial(number, {name: value for name, value in envs.items() if name != "RUN_NAME"})
        try:
            result = await self._child(str(number), replace(given.task, envs_override={**(given.task.envs_override or {}), **envs}))
        except (ChildWorkflowError, WorkflowAlreadyStartedError) as error:
            return replace(told, told=root(error))
        value = figure(result.outputs.get(given.metric))
        missing = f"its job put out no {given.metric} that is a number"
        return replace(
            told,
            value=value,
            cluster_name=result.cluster_name,
            seconds=result.timings.ran,
            told=str(result.outputs.get("model_url", "")) if value is not None else missing,
        )

    async def _child(self, name: str, task: SkyTaskInput) -> TaskResult:
        child = await workflow.start_child_workflow(
            SkyTaskWorkflow.run,
            task,
            id=f"{workflow.info().workflow_id}-{name}",
            parent_close_policy=ParentClosePolicy.REQUEST_CANCEL,
            cancellation_type=ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
            static_summary=f"{task.yaml_path} {task.envs_override or ''}"[:200],
        )
        return await heeding(child)


def preparation(given: SkySweepInput, envs: dict[str, str]) -> SkyTaskInput:
    """What the trials ask for beyond their file, accelerators say, is theirs alone; and nothing runs on its cluster after it."""
    return replace(given.task, yaml_path=given.prepare, yaml_content="", envs_override=envs, resources=None, down_on_completion=True)


async def _all(trials: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Wait for all of them. A cancel is handed on to each, and they are waited for then too: each has a cluster to take down."""
    running = [asyncio.ensure_future(trial) for trial in trials]
    try:
        await workflow.wait(running)
    except asyncio.CancelledError:
        for one in running:
            one.cancel()
        await workflow.wait(running)
        raise
    for one in running:
        one.result()


def ranked(trials: list[Trial]) -> list[Trial]:
    """Best first, and those that failed last; equal ones by their number."""
    return sorted(trials, key=lambda trial: (trial.value is None, -(trial.value or 0.0), trial.number))


def root(error: BaseException) -> str:
    """Why a trial failed, in one line."""
    reason = innermost(error)
    return (str(reason) or type(reason).__name__).splitlines()[0][:_LONGEST_REASON]
