"""Following a pipeline's run from outside, by its query: a line for each thing that has happened since the last look."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from temporalio.client import WorkflowFailureError, WorkflowHandle, WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.exceptions import ApplicationError, CancelledError, TerminatedError
from temporalio.service import RPCError

from sky_orchestrate.errors import SkyOrchestrateError
from temporal.failures import innermost
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
    last, over = PipelineStatus(), False
    try:
        while not over:
            await asyncio.wait([ended], timeout=every)
            # Looked at before the query, so that the last status is told too.
            over = ended.done()
            status = await _status(handle) or last
            if status != last:
                say(status)
                last = status
        return ended.result()
    except WorkflowFailureError as error:
        raise failure(error, handle.id) from error
    finally:
        ended.cancel()


async def _status(handle: WorkflowHandle[SkyPilotWorkflow, SkyPilotWorkflowResult]) -> PipelineStatus | None:
    """None where no worker answers just now: that is no verdict."""
    try:
        return await handle.query(SkyPilotWorkflow.status)
    except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError):
        return None


def failure(error: WorkflowFailureError, workflow_id: str) -> RunFailed:
    """The innermost reason, in one line."""
    reason = innermost(error.cause)
    if isinstance(reason, CancelledError):
        return RunFailed(f"{workflow_id} was cancelled; its clusters are gone")
    if isinstance(reason, TerminatedError):
        return RunFailed(f"{workflow_id} was terminated: its clusters stay until the reaper or `python -m sky_orchestrate reap` takes them")
    if not isinstance(reason, ApplicationError):
        return RunFailed(f"{workflow_id}: {reason}")
    tail = tuple(reason.details[0].get("log_tail", ())) if reason.details and isinstance(reason.details[0], dict) else ()
    return RunFailed(f"{workflow_id}: {reason.message}", tail)
