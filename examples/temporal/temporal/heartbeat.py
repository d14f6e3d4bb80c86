"""How an activity shows that it is alive, and what it does when its worker goes away: it hands over, and takes nothing down."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError

from temporal.failures import told_to_temporal
from temporal.worker_log import teller

T = TypeVar("T")

# Not at once: this worker's own last poll, which is being closed, would be given it and drop it.
_SOON = timedelta(seconds=1)
WORKER_GOES_AWAY = "WorkerGoesAway"


async def beating(work: Coroutine[Any, Any, T], *, every: float, position: Callable[[], Any] = lambda: None) -> T:
    """Carry out `work` with a heartbeat of `position` every so many seconds.

    A worker that shuts down ends this at once, and Temporal gives the activity to another one; a cancel ends it too. In both cases `work`
    is cancelled and awaited, and clusters are the workflow's to take down.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(activity.wait_for_worker_shutdown())
    try:
        while True:
            activity.heartbeat(position())
            await asyncio.wait({working, leaving}, timeout=every, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                with told_to_temporal():
                    return working.result()
            if leaving.done():
                activity.heartbeat(position())
                teller()(f"{activity.info().activity_type} goes on elsewhere: this worker goes away")
                raise ApplicationError(
                    "this worker goes away, another one goes on from here", type=WORKER_GOES_AWAY, next_retry_delay=_SOON
                )
    except asyncio.CancelledError:
        teller()(f"{activity.info().activity_type} ends: {why_cancelled()}")
        raise
    finally:
        leaving.cancel()
        working.cancel()
        # A launch on its way is waited for, and is no dead worker meanwhile; a shutdown that follows a cancel cancels once more.
        while not working.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({working}, timeout=every)
            activity.heartbeat(position())
        await asyncio.gather(working, leaving, return_exceptions=True)


def why_cancelled() -> str:
    """What a cancel of this activity means: the user's wish, or that this worker has no part in it any more."""
    told = activity.cancellation_details()
    if told is None:
        return "cancelled"
    reasons = {
        "the workflow was cancelled": told.cancel_requested,
        "the worker goes away": told.worker_shutdown,
        "another attempt has taken over": told.timed_out or told.reset,
        "the workflow has ended": told.not_found,
        "the activity was paused": told.paused,
    }
    return next((reason for reason, holds in reasons.items() if holds), "cancelled")
