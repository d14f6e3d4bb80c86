"""Scopes of an async flow: clusters that go down while it goes on, and a cluster that several steps share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from flows.cancellation import CancelWatch
from flows.inputs import settings_for
from flows.portal import portal
from flows.run_identity import RunIdentity, current_run
from sky_orchestrate import errors, naming
from sky_orchestrate.naming import RunKey
from sky_orchestrate.settings import Settings
from sky_orchestrate.teardown import Teardowns, tear_down


@dataclass
class Scope:
    """What goes down in the background. `left` are clusters whose step was cancelled for a reason that only the flow's end can tell."""

    teardowns: Teardowns = field(default_factory=Teardowns)
    left: dict[str, Settings] = field(default_factory=dict[str, Settings])

    async def end(self, *, going_away: bool) -> None:
        if not going_away:
            for cluster, settings in self.left.items():
                self.teardowns.start(tear_down(portal().client(settings), cluster, pace=portal().pace))
        await self.teardowns.finish()


_scope: ContextVar[Scope | None] = ContextVar("sky_teardowns", default=None)


def current_scope() -> Scope | None:
    return _scope.get()


@asynccontextmanager
async def sky_teardowns() -> AsyncIterator[None]:
    """Steps that succeed in here return at once, and their clusters go down while the flow goes on; it ends when all are shown to be gone.

    Raises SkyTeardownFailed for those that are not. Without this scope run_sky_task itself waits until its cluster is gone.
    """
    scope = Scope()
    token = _scope.set(scope)
    going_away = False
    try:
        yield
    except asyncio.CancelledError:
        going_away = True
        raise
    finally:
        _scope.reset(token)
        await portal().run(scope.end(going_away=going_away))


@asynccontextmanager
async def shared_cluster(
    name: str = "shared", *, cluster_prefix: str | None = None, api_server_endpoint: str | None = None
) -> AsyncIterator[str]:
    """A cluster for several steps in turn: give what this yields to run_sky_task as `cluster`. It goes down once, after the last."""
    run, settings = await current_run(), await settings_for(api_server_endpoint)
    key = RunKey(settings.owner, run.id, f"shared cluster {name}")
    cluster = naming.cluster_name(cluster_prefix or settings.slug, name, key)
    try:
        yield cluster
    except asyncio.CancelledError:
        await portal().run(_end_cancelled(run, settings, cluster))
        raise
    except errors.OUT_OF_REACH:
        raise
    except Exception:
        await portal().run(_tear_down(settings, cluster))
        raise
    scope = current_scope()
    await portal().run(_start(scope, settings, cluster) if scope else _tear_down(settings, cluster))


async def _tear_down(settings: Settings, cluster: str) -> None:
    await tear_down(portal().client(settings), cluster, pace=portal().pace)


async def _start(scope: Scope, settings: Settings, cluster: str) -> None:
    scope.teardowns.start(_tear_down(settings, cluster))


async def _end_cancelled(run: RunIdentity, settings: Settings, cluster: str) -> None:
    if await CancelWatch(run).user_cancelled():
        await _tear_down(settings, cluster)
