"""The await of an activity, on its own."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import CancelledError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from temporalio.workflow import ActivityCancellationType

from temporal.steps import heeding


@activity.defn
async def end_well_when_cancelled() -> str:
    try:
        while True:
            activity.heartbeat()
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        return "a success that the cancel met"


@workflow.defn
class OneActivity:
    @workflow.run
    async def run(self) -> str:
        going = workflow.start_activity(
            end_well_when_cancelled,
            start_to_close_timeout=timedelta(minutes=1),
            heartbeat_timeout=timedelta(seconds=1),
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        return await heeding(going)


async def test_rule_06_a_cancel_that_meets_the_success_of_an_activity_is_not_lost(client: Client) -> None:
    queue = uuid.uuid4().hex
    async with Worker(
        client,
        task_queue=queue,
        workflows=[OneActivity],
        activities=[end_well_when_cancelled],
        workflow_runner=UnsandboxedWorkflowRunner(),
        default_heartbeat_throttle_interval=timedelta(milliseconds=100),
        max_heartbeat_throttle_interval=timedelta(milliseconds=100),
    ):
        run = await client.start_workflow(OneActivity.run, id=queue, task_queue=queue)
        await asyncio.sleep(0.5)
        await run.cancel()
        with pytest.raises(WorkflowFailureError) as failure:
            await run.result()
    assert isinstance(failure.value.cause, CancelledError)
