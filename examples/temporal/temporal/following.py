"""Following a pipeline's run from outside, by its query: a line for each thing that has happened since the last look."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from temporalio.client import WorkflowFailureError, WorkflowHandle, WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, ChildWorkflowError, FailureError, TerminatedError
from temporalio.service import RPCError

from sky_orchestrate.errors import SkyOrchestrateError
from temporal.messages import PipelineStatus, SkyPilotWorkflowResult
from temporal.workflows import SkyPilotWorkflow


class RunFailed(SkyOrchestrateError):
    """The workflow ended in anything but success; the text says why in one line, and `log_tail` has the job's last ones."""

    def __init__(self, text: str, log_tail: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.log_tail = log_tail


async def follow(
    handle: WorkflowHandle[SkyPilotWorkflow, SkyPilotWorkflowResult], say: Callable[[PipelineStatus], None], *, every: float = 2.0
) -> SkyPilotWorkflowResult:
    """The run's result; `say` gets its status whenever that has changed. Raises RunFailed."""
    ended = asyncio.ensure_future(handle.result())
    last = PipelineStatus()
    while True:
        await asyncio.wait([ended], timeout=every)
        try:
            status = await handle.query(SkyPilotWorkflow.status)
        except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError):
            # No worker answers just now: that is no verdict.
            status = last
        if status != last:
            say(status)
            last = status
        if ended.done():
            break
    try:
        return ended.result()
    except WorkflowFailureError as error:
        raise failure(error, handle.id) from error


def failure(error: WorkflowFailureError, workflow_id: str) -> RunFailed:
    """The innermost reason, in one line."""
    chain = list(_causes(error))
    if any(isinstance(one, CancelledError) for one in chain):
        return RunFailed(f"{workflow_id} was cancelled; its clusters are gone")
    if any(isinstance(one, TerminatedError) for one in chain):
        return RunFailed(f"{workflow_id} was terminated: its clusters stay until the reaper or `python -m sky_orchestrate reap` takes them")
    last = next((one for one in reversed(chain) if isinstance(one, ApplicationError)), None)
    if last is None:
        return RunFailed(f"{workflow_id}: {chain[-1]}")
    tail = tuple(last.details[0].get("log_tail", ())) if last.details and isinstance(last.details[0], dict) else ()
    return RunFailed(f"{workflow_id}: {last.message}", tail)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """From the outside in. A teardown that failed stands before what it followed."""
    cause = error.__cause__ if not isinstance(error, WorkflowFailureError) else error.cause
    while isinstance(cause, (ActivityError, ChildWorkflowError)) and isinstance(cause.cause, FailureError):
        cause = cause.cause
    yield cause or error
