"""One event loop for all SkyPilot work of a process.

Prefect runs each `.submit`ted task in a thread with an event loop of its own, but SkyPilot's client keeps the limits of a process and
belongs to one loop. So that work happens here, on a daemon thread, and tasks wait for it from wherever they run.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

import anyio

from sky_orchestrate.client import connect
from sky_orchestrate.cluster import SkyClient
from sky_orchestrate.result import Pace
from sky_orchestrate.settings import Settings

T = TypeVar("T")


class Errand(Generic[T]):
    """A coroutine on the portal's loop, in the context of whoever sent it. `ended` completes when it has, cleaning up included."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> None:
        self.ended: Future[T] = Future()
        self._loop = loop
        self._task: asyncio.Task[T] | None = None
        loop.call_soon_threadsafe(self._begin, work)

    def cancel(self) -> None:
        self._loop.call_soon_threadsafe(self._cancel)

    def _begin(self, work: Coroutine[Any, Any, T]) -> None:
        self._task = self._loop.create_task(work)
        self._task.add_done_callback(self._end)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _end(self, task: asyncio.Task[T]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            self.ended.set_exception(error)
        else:
            self.ended.set_result(task.result())


class Portal:
    """The loop's thread, and the client that lives there. It is a daemon: a process that was told to end is not held up by it."""

    def __init__(self, *, connect: Callable[[Settings], SkyClient] = connect, pace: Pace = Pace()) -> None:
        self.loop = asyncio.new_event_loop()
        self.pace = pace
        self._connect = connect
        self._clients: dict[str, SkyClient] = {}
        threading.Thread(target=self.loop.run_forever, name="skypilot", daemon=True).start()

    def client(self, settings: Settings) -> SkyClient:
        """The process's client. Raises EndpointChanged for a second endpoint."""
        if settings.endpoint not in self._clients:
            self._clients[settings.endpoint] = self._connect(settings)
        return self._clients[settings.endpoint]

    async def run(self, work: Coroutine[Any, Any, T], *, on_cancel: Callable[[], None] = lambda: None) -> T:
        """Wait for `work` on the portal's loop. A cancel is handed on to it, and raised here when it has cleaned up.

        `on_cancel` is called where the cancel arrives, before `work` hears of it.
        """
        errand = Errand(self.loop, work)
        ended = asyncio.wrap_future(errand.ended)
        try:
            await asyncio.wait([ended])
        except asyncio.CancelledError as cancelled:
            on_cancel()
            errand.cancel()
            # anyio cancels a task again and again until it has left a scope that ran out.
            with anyio.CancelScope(shield=True):
                await _outlast(ended)
            # A teardown that failed names its cluster: it is not lost behind the cancellation.
            raise cancelled from ended.exception()
        return ended.result()


async def _outlast(ended: asyncio.Future[Any]) -> None:
    while not ended.done():
        try:
            await asyncio.wait([ended])
        except asyncio.CancelledError:
            continue


_portal: Portal | None = None
_making = threading.Lock()


def portal() -> Portal:
    """This process's portal."""
    global _portal
    with _making:
        if _portal is None:
            _portal = Portal()
        return _portal
