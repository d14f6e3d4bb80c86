"""The flows that the e2e tests deploy: one step, with everything about it given as parameters, and steps side by side."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.futures import PrefectFuture, wait

from flows.cancellation import take_down_rest
from flows.scope import sky_teardowns
from flows.sky_train_flow import run_sky_task


@flow(name="e2e_step", on_cancellation=[take_down_rest])
async def one_step(task_yaml: str, retries: int = 0, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
    step = run_sky_task.with_options(retries=retries, retry_delay_seconds=1)
    return await step(task_yaml=task_yaml, **(arguments or {}))


@flow(name="e2e_async_fan_out", on_cancellation=[take_down_rest])
async def async_fan_out(task_yamls: list[str]) -> list[Any]:
    async with sky_teardowns():
        futures = _fan_out(task_yamls)
        wait(futures)
    return [future.result() for future in futures]


@flow(name="e2e_sync_fan_out", on_cancellation=[take_down_rest])
def sync_fan_out(task_yamls: list[str]) -> list[Any]:
    return [future.result() for future in _fan_out(task_yamls)]


def _fan_out(task_yamls: list[str]) -> list[PrefectFuture[Any]]:
    """The first by `.submit`, the others by `.map`."""
    return [run_sky_task.submit(task_yaml=task_yamls[0]), *run_sky_task.map(task_yaml=task_yamls[1:])]
