"""One call of run_sky_task: what Prefect knows, brought together with the core that runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from flows.cancellation import Caller, watched
from flows.portal import portal
from flows.run_identity import RunIdentity, claim
from flows.scope import Scope
from sky_orchestrate import naming
from sky_orchestrate.errors import SkyOrchestrateError
from sky_orchestrate.naming import RunKey
from sky_orchestrate.runner import RunOptions, run_task
from sky_orchestrate.settings import Settings
from sky_orchestrate.task import TaskSpec


@dataclass(frozen=True)
class Step:
    """A step of a run, with everything Prefect holds resolved. `load` reads the task and may block; `scope` takes the teardown."""

    run: RunIdentity
    settings: Settings
    load: Callable[[], TaskSpec]
    options: RunOptions
    key: str | None
    say: Callable[[str], None]
    scope: Scope | None

    async def result(self) -> dict[str, Any]:
        """Run it on the portal from the task's own loop."""
        caller = Caller()
        return await portal().run(self._carry_out(caller), on_cancel=caller.cancel)

    async def _carry_out(self, caller: Caller) -> dict[str, Any]:
        task = await asyncio.to_thread(self.load)
        step = "/".join((self.options.prefix, task.name, self.key or task.digest))
        key = RunKey(self.settings.owner, self.run.id, step)
        claim(self.run, key, task.name)
        cluster = self.options.cluster or naming.cluster_name(self.options.prefix, task.name, key)
        async with watched(self.run, caller) as watch:

            async def user_cancelled() -> bool:
                wanted = caller.timed_out or await watch.user_cancelled()
                if not wanted and self.scope is not None:
                    self.scope.left[cluster] = self.settings
                return wanted

            result = await run_task(
                task,
                key,
                replace(self.options, pace=portal().pace, idle_minutes=self.settings.idle_minutes),
                client=portal().client(self.settings),
                on_log=self.say,
                user_cancelled=user_cancelled,
                teardowns=self.scope.teardowns if self.scope is not None else None,
            )
        return result.as_dict()


def retry_can_help(_task: Any, _task_run: Any, state: Any) -> bool:
    """Prefect's `retry_condition_fn`: errors say themselves whether another attempt may succeed with the same input."""
    return state.data.retryable if isinstance(state.data, SkyOrchestrateError) else True
