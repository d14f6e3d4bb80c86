"""A user's cancel, told from a worker that goes away: the first takes clusters down, the second leaves them for the next attempt.

Both reach an async task as CancelledError, and a task that a sync flow `.submit`ted hears of neither. What the user wants stands in the
flow run's state, so that is read: when a task is cancelled, and every few seconds for all tasks of a run together.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import anyio
from prefect.client.orchestration import get_client
from prefect.client.schemas import FlowRun
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State, StateType
from prefect.flows import Flow
from prefect.logging.loggers import flow_run_logger

from flows.run_identity import RunIdentity
from sky_orchestrate.settings import load_settings

_CANCELLED = (StateType.CANCELLING, StateType.CANCELLED)


@dataclass(frozen=True)
class Patience:
    """Seconds: between looks at the run's state; for a state that explains a SIGTERM just received; for the runner to end the task too."""

    poll: float = 3.0
    state: float = 2.0
    runner: float = 5.0


patience = Patience()


@dataclass
class Caller:
    """Where a step is awaited: in the task's own loop, not the portal's."""

    cancelled: bool = False
    timed_out: bool = False

    def cancel(self) -> None:
        """A limit of Prefect's (`timeout_seconds`) is an anyio scope that has run out; the loop's own end is not."""
        self.cancelled = True
        self.timed_out = anyio.current_effective_deadline() == -math.inf

    async def until_cancelled(self) -> None:
        """A step that ended before the runner has ended its process would make the run Crashed, not Cancelled."""
        give_up = time.monotonic() + patience.runner
        while not self.cancelled and time.monotonic() < give_up:
            await asyncio.sleep(0.1)


@dataclass
class CancelWatch:
    """The steps of one run in this process, and whether its user wants them ended. Lives on the portal's loop."""

    run: RunIdentity
    cancelled: bool = False
    steps: set[asyncio.Task[Any]] = field(default_factory=set)
    poller: asyncio.Task[None] | None = None

    async def user_cancelled(self) -> bool:
        """Asked when a step is cancelled: is its cluster to go down? Without a deployment there is no next attempt, as after Ctrl-C."""
        give_up = time.monotonic() + patience.state
        while self.run.deployed and not await self._look() and time.monotonic() < give_up:
            await asyncio.sleep(0.5)
        return self.cancelled or not self.run.deployed

    async def poll(self) -> None:
        while not await self._look():
            await asyncio.sleep(patience.poll)
        for step in self.steps:
            step.cancel()

    async def _look(self) -> bool:
        if not self.cancelled:
            # Prefect's API may be away for a while: that is no verdict.
            with contextlib.suppress(Exception):
                self.cancelled = await self._state_says_so()
        return self.cancelled

    async def _state_says_so(self) -> bool:
        async with get_client() as client:
            found = await client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=list(self.run.flow_runs))))
        return any(flow_run.state_type in _CANCELLED for flow_run in found)


_watches: dict[str, CancelWatch] = {}


@contextlib.asynccontextmanager
async def watched(run: RunIdentity, caller: Caller) -> AsyncIterator[CancelWatch]:
    """Cancel the current step when the run's user cancels it. One poll serves all steps of a run."""
    watch = _watches.setdefault(run.id, CancelWatch(run))
    step = asyncio.current_task()
    assert step is not None
    watch.steps.add(step)
    if watch.poller is None and run.flow_runs:
        watch.poller = asyncio.ensure_future(watch.poll())
    try:
        yield watch
    except asyncio.CancelledError:
        if watch.cancelled and run.deployed:
            await caller.until_cancelled()
        raise
    finally:
        watch.steps.discard(step)
        if not watch.steps:
            _watches.pop(run.id, None)
            if watch.poller is not None:
                watch.poller.cancel()


async def take_down_rest(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001  # Prefect passes it by name
    """An `on_cancellation` hook: what is left of the run goes down, also where its process was killed. Runs in the runner's process.

    In a process of its own, since SkyPilot's SDK is for one endpoint per process.
    """
    logger = flow_run_logger(flow_run, flow)
    command = [sys.executable, "-m", "sky_orchestrate", "reap", "--run", str(flow_run.id)]
    endpoint = flow_run.parameters.get("api_server_endpoint")
    if endpoint:
        command += ["--endpoint", endpoint]
    ended = await asyncio.to_thread(subprocess.run, command, cwd=load_settings().root, capture_output=True, text=True, check=False)
    for line in (ended.stdout + ended.stderr).splitlines():
        logger.info(line)
    if ended.returncode:
        logger.error(f"clusters of this run may be left, at a cost; the reaper takes them, or {' '.join(command[1:])}")
