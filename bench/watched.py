"""A client that notes when it is asked what: the benchmark sees the core from where it meets SkyPilot."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sky_orchestrate.cluster import SkyClient


@dataclass
class Call:
    """One question to the server: when it was asked, and when it was answered or given up."""

    what: str
    asked: float
    left: float = float("inf")


@dataclass
class Watched:
    """`SkyClient` by way of another one."""

    client: SkyClient
    calls: list[Call] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        method: Callable[..., Any] = getattr(self.client, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def noted(*args: Any, **kwargs: Any) -> Any:
            call = Call(name, time.monotonic())
            self.calls.append(call)
            try:
                return await method(*args, **kwargs)
            finally:
                call.left = time.monotonic()

        return noted

    def first(self, what: str, *, after: float) -> float:
        """When it was first asked after that moment."""
        return min(call.asked for call in self.calls if call.what == what and call.asked >= after)

    def last_end(self, what: str) -> float:
        return max(call.left for call in self.calls if call.what == what)
