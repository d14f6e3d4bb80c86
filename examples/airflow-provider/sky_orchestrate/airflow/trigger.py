"""Waits for a step in the triggerer, from the launch to the job's end, with no worker held meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from sky_orchestrate.airflow.attempt import Attempt, StepRequest


async def _by_the_user() -> bool:
    return True


class SkyTaskTrigger(BaseTrigger):
    """Runs a StepRequest and fires its Verdict, once. A restarted triggerer attaches to what the one before has launched."""

    def __init__(self, **request: Any) -> None:
        super().__init__()
        self._request = StepRequest(**request)
        self._attempt = Attempt(self._request, self._say)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", asdict(self._request)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        yield TriggerEvent((await self._attempt.verdict()).as_dict())

    async def on_kill(self) -> None:
        """The task was marked, cleared or cancelled by its user. `cleanup` is not for this: it runs when a triggerer restarts too."""
        await self._attempt.end_cancelled(_by_the_user)

    def _say(self, line: str) -> None:
        self.log.info("%s", line)
