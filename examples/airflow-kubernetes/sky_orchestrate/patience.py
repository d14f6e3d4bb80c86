"""Waiting on the server within bounds: it may restart under us, and a dead request may be asked for forever."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

# asyncio.timeout for Python 3.10 too. Not asyncio.wait_for: before 3.12 it swallows a cancellation that meets the result.
from async_timeout import timeout as within

from sky_orchestrate import errors
from sky_orchestrate.result import Pace

__all__ = ["ask", "finish", "first", "jitter", "within"]

T = TypeVar("T")


async def ask(pace: Pace, question: Callable[[], Awaitable[T]]) -> T:
    """The answer to a short question, asked again while the server does not answer, for at most `pace.patience` seconds."""
    give_up = time.monotonic() + pace.patience
    wait = pace.retry
    while True:
        try:
            async with within(pace.answer):
                return await question()
        except (errors.EndpointUnreachable, errors.RequestLost, asyncio.TimeoutError) as error:
            if time.monotonic() + wait > give_up:
                if isinstance(error, errors.SkyOrchestrateError):
                    raise
                raise errors.EndpointUnreachable(
                    f"SkyPilot's API server took the question but did not answer within {pace.answer:g} s"
                ) from error
        await asyncio.sleep(jitter(wait, wait * 1.5))
        wait = min(wait * 2, 30.0)


def jitter(low: float, high: float) -> float:
    return random.uniform(low, high)


async def first(*contenders: Coroutine[Any, Any, T]) -> T:
    """The first contender's result or error; the others are cancelled and awaited."""
    tasks = [asyncio.ensure_future(contender) for contender in contenders]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        # In the order given: where several ended at once, the verdict comes before a limit.
        return next(task for task in tasks if task in done).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def finish(work: Coroutine[Any, Any, T]) -> T:
    """Carry `work` through even if the caller is cancelled meanwhile; the cancellation is raised once it is done."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                raise
            cancelled = error
        except Exception:  # noqa: BLE001  # kept in the task, raised from it below
            break
    if cancelled is not None:
        task.exception()
        raise cancelled
    return task.result()
