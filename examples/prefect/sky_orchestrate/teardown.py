"""Taking a cluster down so that it is shown to be gone, and letting the pipeline go on meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Any

from sky_orchestrate import errors
from sky_orchestrate.cluster import Request, SkyClient
from sky_orchestrate.patience import ask, finish, within
from sky_orchestrate.result import Pace

_SUBMITTING = ("launch", "exec")


async def tear_down(client: SkyClient, cluster_name: str, *, pace: Pace, sending: asyncio.Future[Any] | None = None) -> float:
    """Take the cluster down and verify it; returns the seconds it took.

    `sending` is a launch whose answer is still out: the server may take it after our `down`, so the cluster is looked for
    again once it is settled. Raises SkyTeardownFailed where neither request nor cluster can be shown to be gone.
    """
    began = time.monotonic()
    last: Exception | None = None
    while True:
        try:
            await _take_down(client, cluster_name, pace)
            if sending is not None and not sending.done():
                await asyncio.wait([sending], timeout=pace.answer)
            elif await is_gone(client, cluster_name, pace=pace):
                return time.monotonic() - began
        except errors.SkyOrchestrateError as error:
            last = error
        if time.monotonic() - began > pace.teardown:
            raise errors.SkyTeardownFailed(
                f"{cluster_name} could not be shown to be gone within {pace.teardown:g} s and may still cost money; "
                f"run `sky down {cluster_name}`" + (f" (last: {last})" if last else "")
            ) from last
        if last is not None:
            await asyncio.sleep(pace.retry)


async def is_gone(client: SkyClient, cluster_name: str, *, pace: Pace) -> bool:
    """Neither an unfinished request on the name nor, asked of the infra itself, a cluster."""
    if await ask(pace, lambda: client.active_requests(cluster_name)):
        return False
    return await ask(pace, lambda: client.cluster(cluster_name, refresh=True)) is None


async def _take_down(client: SkyClient, cluster_name: str, pace: Pace) -> None:
    requests = await ask(pace, lambda: client.active_requests(cluster_name))
    submitting = [request for request in requests if request.kind in _SUBMITTING]
    if submitting:
        await ask(pace, lambda: client.cancel_requests(submitting))
        await _ended(client, submitting, pace)
    downs = [request for request in requests if request.kind == "down"]
    if downs:
        await _ended(client, downs, pace)
        return
    try:
        async with within(pace.teardown):
            await client.down(cluster_name)
    except errors.ClusterGone:
        # No proof: a launch in flight would still come up. The caller verifies.
        return
    except asyncio.TimeoutError as error:
        raise errors.SkyTeardownFailed(f"`sky down {cluster_name}` did not end within {pace.teardown:g} s") from error


async def _ended(client: SkyClient, requests: Sequence[Request], pace: Pace) -> None:
    try:
        async with within(pace.answer):
            await asyncio.gather(*(client.request_ended(request) for request in requests))
    except asyncio.TimeoutError:
        # A restarted server can be asked forever for a dead request: whether it lives is looked at again.
        return


class Teardowns:
    """A scope in which the clusters of steps that succeeded go down while the next step runs; leaving it waits for all of them.

    Raises SkyTeardownFailed for those that could not be shown to be gone.
    """

    def __init__(self) -> None:
        self._running: list[asyncio.Task[Any]] = []

    def start(self, teardown: Coroutine[Any, Any, Any]) -> None:
        self._running.append(asyncio.ensure_future(teardown))

    @property
    def pending(self) -> int:
        """How many clusters are still on their way down."""
        return sum(not teardown.done() for teardown in self._running)

    async def finish(self) -> None:
        failed = [str(error) for error in await finish(self._gather()) if isinstance(error, Exception)]
        if failed:
            raise errors.SkyTeardownFailed("; ".join(failed))

    async def _gather(self) -> list[Any]:
        return await asyncio.gather(*self._running, return_exceptions=True)

    async def __aenter__(self) -> Teardowns:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.finish()
