"""The reaper on Temporal's schedule: takes down clusters whose workflow ended or was lost."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from temporal.activities import SkyActivities
    from temporal.messages import TASK_QUEUE, SkyReapCommand

EVERY = timedelta(minutes=5)


@workflow.defn
class SkyReaperWorkflow:
    """One look at every cluster of this project; fails where one could not be shown to be gone."""

    @workflow.run
    async def run(self, command: SkyReapCommand) -> list[dict[str, str]]:
        reaped = await workflow.execute_activity_method(
            SkyActivities.run_sky_reap,
            command,
            start_to_close_timeout=timedelta(hours=1),
            heartbeat_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(maximum_attempts=3),
        )
        failed = [one["cluster"] for one in reaped if one["action"] == "failed"]
        if failed:
            raise ApplicationError(
                f"could not be shown to be gone, and may cost money: {', '.join(failed)}", type="SkyTeardownFailed", non_retryable=True
            )
        return reaped


async def schedule_reaper(client: Client, slug: str, *, task_queue: str = TASK_QUEUE, every: timedelta = EVERY) -> str:
    """Have the reaper run every so often, one at a time; again after a change, this updates what is there. Returns the schedule's id."""
    name = f"{slug}-reaper"
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(SkyReaperWorkflow.run, SkyReapCommand(), id=name, task_queue=task_queue),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(minutes=1)),
    )

    async def renewed(_: ScheduleUpdateInput) -> ScheduleUpdate:
        return ScheduleUpdate(schedule)

    try:
        await client.create_schedule(name, schedule)
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(name).update(renewed)
    return name
