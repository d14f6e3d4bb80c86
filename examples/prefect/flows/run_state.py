"""What Prefect says of a run: the reaper's question."""

from __future__ import annotations

from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound

from sky_orchestrate.reaper import RunState


async def run_state(label: str) -> RunState | None:
    """What became of the run that a cluster's label names; None where Prefect knows no such run. One that waits for its retry is live."""
    try:
        run_id = UUID(label)
    except ValueError:
        return None
    async with get_client() as client:
        state = await _state(client, run_id)
    return None if state is None else RunState(over=state.is_final(), ended_at=state.timestamp.timestamp())


async def _state(client: PrefectClient, run_id: UUID) -> State | None:
    """A flow run's state, or that of a task run outside of any flow."""
    for read in (client.read_flow_run, client.read_task_run):
        try:
            return (await read(run_id)).state
        except ObjectNotFound:
            continue
    return None
