"""A job's log followed in a thread of its own, its lines handed to an event loop.

SkyPilot's `tail_logs` blocks for as long as the job runs. The thread is a daemon: a worker that stops does not wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import Any


class StreamClosed(Exception):
    """Nobody reads the stream any more: raised into SkyPilot's writer, so that its thread ends at the next line."""


class LineWriter:
    """The `output_stream` SkyPilot prints to, from its thread: whole lines go to the loop, in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_line: Callable[[str], None]) -> None:
        self._loop, self._on_line = loop, on_line
        # Loggers may go by the context of the task that follows, and a thread has none of it.
        self._context = contextvars.copy_context()
        self._partial = ""
        self.closed = False

    def write(self, text: str) -> int:
        if self.closed:
            raise StreamClosed
        *lines, self._partial = (self._partial + text).split("\n")
        for line in lines:
            self._loop.call_soon_threadsafe(self._emit, line, context=self._context)
        return len(text)

    def flush(self) -> None:
        if self.closed:
            raise StreamClosed

    def finish(self) -> None:
        """Hand over what was left without a line break."""
        if self._partial:
            self._loop.call_soon_threadsafe(self._emit, self._partial, context=self._context)
            self._partial = ""

    def _emit(self, line: str) -> None:
        if not self.closed:
            self._on_line(line)


async def follow(tail: Callable[[LineWriter], Any], on_line: Callable[[str], None]) -> int | None:
    """Run the blocking `tail` in a thread until it returns its exit code; cancelling leaves the thread to end by itself."""
    loop = asyncio.get_running_loop()
    writer = LineWriter(loop, on_line)
    ended: asyncio.Future[int | None] = loop.create_future()

    def settle(code: int | None, error: BaseException | None) -> None:
        if ended.done():
            return
        if error is None:
            ended.set_result(code)
        else:
            ended.set_exception(error)

    def run() -> None:
        code, error = None, None
        try:
            code = tail(writer)
            writer.finish()
        except BaseException as raised:  # noqa: BLE001  # handed to the waiting loop, whatever it is
            error = raised
        # A closed loop has nobody waiting any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, code if code is None else int(code), error)

    threading.Thread(target=run, name="skypilot-logs", daemon=True).start()
    try:
        return await ended
    finally:
        writer.closed = True
