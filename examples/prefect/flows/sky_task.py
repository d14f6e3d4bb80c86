"""A Prefect task that sync flows may call as well, though its function is async."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar

from prefect.context import FlowRunContext
from prefect.tasks import Task

P = ParamSpec("P")
R = TypeVar("R")


class SkyTask(Task[P, R]):
    """Called from a sync flow, an async task of Prefect's own gives a coroutine that nobody awaits, and nothing runs. This one runs it.

    So a cancel reaches it too: the flow's process is told in the thread that waits here.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        running: Any = super().__call__(*args, **kwargs)
        if not asyncio.iscoroutine(running):
            return running
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(running)
        context = FlowRunContext.get()
        if context is None or context.flow is None or context.flow.isasync:
            return running
        # A sync subflow of an async flow: its caller's loop waits for it anyway.
        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(copy_context().run, asyncio.run, running).result()

    def with_options(self, **options: Any) -> Task[P, R]:
        changed: Task[P, R] = super().with_options(**options)
        changed.__class__ = type(self)
        return changed


def sky_task(**options: Any) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], SkyTask[P, Coroutine[Any, Any, R]]]:
    """As `prefect.task`, for tasks that a sync flow may call."""
    return lambda fn: SkyTask(fn, **options)
