"""Trains once for each choice of hyperparameters, a few clusters at a time, and ranks them in a table artifact.

python -m flows.examples.hyperparameter_sweep
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_table_artifact
from prefect.runtime import flow_run

from flows.cancellation import take_down_rest
from flows.scope import sky_teardowns
from flows.sky_train_flow import run_sky_task
from sky_orchestrate.errors import SkyJobFailed


@flow(name="hyperparameter_sweep", on_cancellation=[take_down_rest])
async def hyperparameter_sweep(
    learning_rates: list[float] | None = None,
    batch_sizes: list[int] | None = None,
    epochs: int = 10,
    max_parallel: int = 3,
    api_server_endpoint: str | None = None,
) -> list[dict[str, Any]]:
    """The trials, best first. A trial that fails is told in the table and stops no other; the sweep fails where none succeeds."""
    trials = list(itertools.product(learning_rates or [0.01, 0.03, 0.1], batch_sizes or [16, 32]))
    run = {"RUN_NAME": str(flow_run.id)}
    free = asyncio.Semaphore(max_parallel)

    async def trial(learning_rate: float, batch_size: int) -> dict[str, Any]:
        envs = {**run, "LEARNING_RATE": str(learning_rate), "BATCH_SIZE": str(batch_size), "EPOCHS": str(epochs)}
        row: dict[str, Any] = {"learning_rate": learning_rate, "batch_size": batch_size}
        async with free:
            try:
                result = await run_sky_task(
                    yaml_path="tasks/train.yaml",
                    envs_override=envs,
                    key=f"lr{learning_rate}-batch{batch_size}",
                    cluster_prefix="sweep",
                    api_server_endpoint=api_server_endpoint,
                )
            except SkyJobFailed as error:
                get_run_logger().warning(f"learning rate {learning_rate}, batch size {batch_size}: {error}")
                return {**row, "validation_accuracy": None, "seconds": None, "model": f"failed with exit code {error.exit_code}"}
        outputs = result["outputs"]
        return {
            **row,
            "validation_accuracy": outputs["validation_accuracy"],
            "seconds": result["timings"]["ran"],
            "model": outputs["model_url"],
        }

    async with sky_teardowns():
        await run_sky_task(yaml_path="tasks/data_preprocessing.yaml", envs_override=run, api_server_endpoint=api_server_endpoint)
        # Each trial is awaited to its end: an error of one does not leave another's cluster behind.
        ended = await asyncio.gather(*(trial(*choice) for choice in trials), return_exceptions=True)
    for error in ended:
        if isinstance(error, BaseException):
            raise error
    rows = [row for row in ended if not isinstance(row, BaseException)]
    ranked = sorted(rows, key=lambda row: -1.0 if row["validation_accuracy"] is None else row["validation_accuracy"], reverse=True)
    table = [{"rank": rank, **row} for rank, row in enumerate(ranked, 1)]
    await acreate_table_artifact(table=table, key="hyperparameter-sweep", description="Trials by validation accuracy, best first")
    if table[0]["validation_accuracy"] is None:
        raise RuntimeError(f"none of the {len(table)} trials succeeded; the table artifact says why")
    return table


if __name__ == "__main__":
    asyncio.run(hyperparameter_sweep())
