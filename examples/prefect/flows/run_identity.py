"""Which run a step belongs to, and which step of it: what its cluster is named after and found again by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect.cache_policies import CachePolicy
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas import FlowRun
from prefect.context import FlowRunContext, TaskRunContext
from prefect.utilities.hashing import hash_objects

from sky_orchestrate.errors import DuplicateRunKey
from sky_orchestrate.naming import RunKey


@dataclass(frozen=True)
class RunIdentity:
    """The run a step is part of.

    `id` is that of the outermost flow run in this process: it alone is cancelled, retried and read by the reaper, and a retry of it gives
    its subflows new ids. `flow_runs` are all from there down. Without a deployment nobody starts the run again.
    """

    id: str
    flow_runs: tuple[UUID, ...]
    task_run_id: str
    attempt: int = 1
    deployed: bool = False


async def current_run() -> RunIdentity:
    """The run of the task this is called in. A task run outside of any flow stands for itself."""
    task_context, flow_context = TaskRunContext.get(), FlowRunContext.get()
    task_run_id = str(task_context.task_run.id) if task_context else ""
    flow_run = flow_context.flow_run if flow_context else None
    if not isinstance(flow_run, FlowRun):
        return RunIdentity(task_run_id, (), task_run_id)
    async with get_client() as client:
        flow_runs = [flow_run]
        while parent := await _parent(client, flow_runs[-1]):
            flow_runs.append(parent)
    outermost = flow_runs[-1]
    ids = tuple(run.id for run in flow_runs)
    return RunIdentity(str(outermost.id), ids, task_run_id, sum(run.run_count for run in flow_runs), outermost.deployment_id is not None)


async def _parent(client: PrefectClient, flow_run: FlowRun) -> FlowRun | None:
    """The flow run that called this one as a subflow in this process; a deployment's run has a process of its own."""
    if flow_run.parent_task_run_id is None or flow_run.deployment_id is not None:
        return None
    task_run = await client.read_task_run(flow_run.parent_task_run_id)
    return await client.read_flow_run(task_run.flow_run_id) if task_run.flow_run_id else None


_claims: dict[tuple[str, int, str], str] = {}


def claim(run: RunIdentity, key: RunKey, what: str) -> None:
    """Take the key for this task run; its retries may take it again, and so may the next attempt at the run.

    Raises DuplicateRunKey where another task of the run has it: both would be one cluster and one job.
    """
    if run.task_run_id != _claims.setdefault((key.run, run.attempt, key.step), run.task_run_id):
        raise DuplicateRunKey(
            f"{what} was already started in this flow run with the same task, envs and infra; give each call a `key=` of its own"
        )


class CompletedInThisRun(CachePolicy):
    """A step that completed is not done again when the flow run is retried.

    The same call twice within one attempt is no repetition but a mistake, which `claim` tells: it gets no cached result.
    """

    def compute_key(self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any) -> str | None:  # noqa: ARG002  # CachePolicy's signature
        flow_context = FlowRunContext.get()
        flow_run = flow_context.flow_run if flow_context else None
        if not isinstance(flow_run, FlowRun):
            return None
        key = hash_objects(str(flow_run.id), task_ctx.task.name, inputs, raise_on_failure=True)
        attempt = (str(flow_run.id), flow_run.run_count, str(key))
        first = _claims.setdefault(attempt, str(task_ctx.task_run.id))
        return key if first == str(task_ctx.task_run.id) else None
