"""Waits for a step in the triggerer, from the launch to the job's end, with no worker held meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.execution_time.xcom import XCom
from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

from sky_orchestrate.airflow.attempt import Attempt, StepRequest, Verdict


async def _by_the_user() -> bool:
    return True


class SkyTaskTrigger(BaseTrigger):
    """Runs a StepRequest and fires its Verdict, once. A restarted triggerer attaches to what the one before has launched.

    With `ends_task` a success whose cluster stays ends the task here, with no worker started for it.
    """

    def __init__(self, *, ends_task: bool = False, result_key: str = BaseXCom.XCOM_RETURN_KEY, **request: Any) -> None:
        super().__init__()
        self._ends_task, self._result_key = ends_task, result_key
        self._request = StepRequest(**request)
        self._attempt = Attempt(self._request, self._say)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            **asdict(self._request),
            "ends_task": self._ends_task,
            "result_key": self._result_key,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        verdict = await self._attempt.verdict()
        ends_here = self._ends_task and verdict.result and not verdict.tear_down and await self._left_in_xcom(verdict)
        yield TaskSuccessEvent() if ends_here else TriggerEvent(verdict.as_dict())

    async def on_kill(self) -> None:
        """The task was marked, cleared or cancelled by its user. `cleanup` is not for this: it runs when a triggerer restarts too."""
        await self._attempt.end_cancelled(_by_the_user)

    async def _left_in_xcom(self, verdict: Verdict) -> bool:
        """As a worker leaves it. What the event itself would carry to XCom is read back as text (Airflow 3.3), not as data."""
        task = self.task_instance
        if task is None:  # `dag.test()` has no triggerer that ends tasks
            return False
        try:
            for key, value in verdict.xcoms(self._result_key).items():
                await XCom.aset(key, value, dag_id=task.dag_id, task_id=task.task_id, run_id=task.run_id, map_index=task.map_index)
        except Exception:
            self.log.exception("the result could not be left in XCom from here: a worker does it")
            return False
        return True

    def _say(self, line: str) -> None:
        self.log.info("%s", line)
