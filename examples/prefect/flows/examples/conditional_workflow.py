"""Decides on the way: GPU or CPU by a parameter, and whether to train on by what the step before put out.

python -m flows.examples.conditional_workflow
"""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from flows.cancellation import take_down_rest
from flows.scope import shared_cluster, sky_teardowns
from flows.sky_train_flow import run_sky_task


@flow(name="conditional_workflow", on_cancellation=[take_down_rest])
async def conditional_workflow(
    *, use_gpu: bool = True, target_accuracy: float = 0.97, epochs: int = 5, api_server_endpoint: str | None = None
) -> dict[str, Any]:
    """Train briefly, and with four times the epochs where that misses the target, on the same cluster."""
    common: dict[str, Any] = {
        "yaml_path": "tasks/train.yaml",
        # The accelerators of tasks/train.yaml, or none.
        "resources": None if use_gpu else {"accelerators": None},
        "api_server_endpoint": api_server_endpoint,
    }
    run = {"RUN_NAME": str(flow_run.id)}
    async with sky_teardowns():
        await run_sky_task(yaml_path="tasks/data_preprocessing.yaml", envs_override=run, api_server_endpoint=api_server_endpoint)
        async with shared_cluster("train", api_server_endpoint=api_server_endpoint) as cluster:
            result = await run_sky_task(envs_override={**run, "EPOCHS": str(epochs)}, cluster=cluster, **common)
            accuracy = result["outputs"]["validation_accuracy"]
            if accuracy < target_accuracy:
                get_run_logger().info(f"{accuracy:.3f} is below the target of {target_accuracy:.3f}: training on")
                result = await run_sky_task(envs_override={**run, "EPOCHS": str(4 * epochs)}, cluster=cluster, **common)
    return result["outputs"]


if __name__ == "__main__":
    asyncio.run(conditional_workflow())
