"""What Temporal says of a run: the reaper's question."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

from temporalio.client import Client, WorkflowExecutionStatus

from sky_orchestrate.reaper import RunState
from sky_orchestrate.settings import load_settings
from temporal.connection import connect_temporal, refusals_told


def run_states_of(client: Client) -> Callable[[str], Awaitable[RunState | None]]:
    """Asks this client. None is a run that Temporal does not know, or no longer: its namespace's retention is over."""

    async def state(label: str) -> RunState | None:
        try:
            run_id = UUID(label)
        except ValueError:
            return None
        async for found in client.list_workflows(f"RunId = '{run_id}'"):
            over = found.status not in (WorkflowExecutionStatus.RUNNING, None)
            return RunState(over=over, ended_at=found.close_time.timestamp() if over and found.close_time else None)
        return None

    return state


async def run_state(label: str) -> RunState | None:
    """As `python -m sky_orchestrate reap` asks: what became of the run that a cluster's label names."""
    client = await connect_temporal(load_settings())
    with refusals_told():
        return await run_states_of(client)(label)
