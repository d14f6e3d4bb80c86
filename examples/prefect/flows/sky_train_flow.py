"""SkyPilot tasks in Prefect: run_sky_task, and the workflows that are made of it.

    from flows.sky_train_flow import run_sky_task

    @flow
    async def my_flow():
        result = await run_sky_task(yaml_path="tasks/train.yaml", envs_override={"EPOCHS": "10"})
        print(result["outputs"])

It is awaited in async flows, called in sync ones, and `.submit`ted and `.map`ped from both.
"""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from flows.cancellation import take_down_rest
from flows.inputs import secret_values, settings_for
from flows.run_identity import CompletedInThisRun, current_run
from flows.scope import current_scope, shared_cluster, sky_teardowns
from flows.sky_task import sky_task
from flows.step import Step, retry_can_help
from sky_orchestrate.errors import SkyOrchestrateError
from sky_orchestrate.result import Limits
from sky_orchestrate.runner import RunOptions
from sky_orchestrate.task import load_task


def _step_name(parameters: dict[str, Any]) -> str:
    """What the task run is called in the UI."""
    return parameters.get("key") or Path(parameters.get("yaml_path") or "inline").stem


@sky_task(
    name="run_sky_task",
    task_run_name=_step_name,
    retries=2,
    retry_delay_seconds=30,
    retry_condition_fn=retry_can_help,
    cache_policy=CompletedInThisRun(),
    persist_result=True,
    result_serializer="json",
)
async def run_sky_task(
    base_path: str | None = None,
    yaml_path: str | None = None,
    envs_override: dict[str, str] | None = None,
    git_branch: str | None = None,
    cluster_prefix: str | None = None,
    *,
    down_on_completion: bool = True,
    api_server_endpoint: str | None = None,
    task_yaml: str | None = None,
    secrets: dict[str, str] | None = None,
    infra: str | None = None,
    resources: dict[str, Any] | None = None,
    key: str | None = None,
    cluster: str | None = None,
    wait_for_capacity: bool = False,
    provision_timeout: float | None = None,
    queued_timeout: float | None = None,
    run_timeout: float | None = None,
) -> dict[str, Any]:
    """Run one SkyPilot task on a cluster of its own, and take that down; a retry attaches to what an earlier attempt started.

    `base_path` is a folder or a Git URL (`git_branch`: branch, tag or commit) and `yaml_path` lies in it, or `task_yaml` is the task's
    text. `secrets` are names of Prefect Secret blocks by the task's names for them, such as {"HF_TOKEN": "my-hf-token"}. `key` tells
    apart two calls of one flow run with the same task and envs. `cluster` comes from `shared_cluster()`. Limits are seconds.

    Returns cluster_name, job_id, status, outputs (what the job printed as `::sky-output::{json}`), log_tail and timings.
    """
    settings = await settings_for(api_server_endpoint)
    run_id = await current_run()
    load = functools.partial(
        load_task,
        yaml_path,
        base_path=base_path,
        yaml_text=task_yaml,
        git_ref=git_branch,
        envs=envs_override,
        secrets=await secret_values(secrets or {}),
        infra=infra,
        resources=resources,
        settings=settings,
        run=run_id.id,
    )
    options = RunOptions(
        prefix=cluster_prefix or settings.slug,
        cluster=cluster,
        keep=not down_on_completion,
        wait_for_capacity=wait_for_capacity,
        limits=Limits(provision=provision_timeout, queued=queued_timeout, run=run_timeout),
    )
    return await Step(run_id, settings, load, options, key, get_run_logger().info, current_scope()).result()


@flow(name="sky_train_workflow", on_cancellation=[take_down_rest], persist_result=True, result_serializer="json")
async def sky_train_workflow(
    base_path: str = "tasks",
    git_branch: str | None = None,
    data_bucket_name: str | None = None,
    data_bucket_store_type: str | None = None,
    api_server_endpoint: str | None = None,
    *,
    envs: dict[str, str] | None = None,
    secrets: dict[str, str] | None = None,
    infra: str | None = None,
    share_cluster: bool = True,
) -> dict[str, Any]:
    """Preprocess, train and evaluate; returns the accuracy, the outputs and the times of each step.

    `share_cluster`: evaluation follows training on the same cluster, which saves a start; else each step has its own. The bucket is the
    project's (DATA_BUCKET_URL), unless one is named here.
    """
    bucket = {"DATA_BUCKET_NAME": data_bucket_name, "DATA_BUCKET_STORE_TYPE": data_bucket_store_type if data_bucket_name else None}
    common: dict[str, Any] = {
        "base_path": base_path,
        "envs_override": {"RUN_NAME": str(flow_run.id), **{name: value for name, value in bucket.items() if value}, **(envs or {})},
        "git_branch": git_branch,
        "api_server_endpoint": api_server_endpoint,
        "secrets": secrets,
        "infra": infra,
    }
    steps = {}
    async with sky_teardowns():
        steps["data_preprocessing"] = await run_sky_task(yaml_path="data_preprocessing.yaml", **common)
        if share_cluster:
            async with shared_cluster("train", api_server_endpoint=api_server_endpoint) as cluster:
                steps["train"] = await run_sky_task(yaml_path="train.yaml", cluster=cluster, **common)
                steps["eval"] = await run_sky_task(yaml_path="eval.yaml", cluster=cluster, **common)
        else:
            steps["train"] = await run_sky_task(yaml_path="train.yaml", **common)
            steps["eval"] = await run_sky_task(yaml_path="eval.yaml", **common)
    told = {name: {what: value for what, value in step.items() if what != "log_tail"} for name, step in steps.items()}
    return {"accuracy": steps["eval"]["outputs"].get("accuracy"), "steps": told}


@flow(name="sky_gpu_workflow", on_cancellation=[take_down_rest], persist_result=True, result_serializer="json")
async def sky_gpu_workflow(
    task_yaml: str,
    num_gpus: int = 1,
    gpu_type: str = "H100",
    envs: dict[str, str] | None = None,
    secrets: dict[str, str] | None = None,
    api_server_endpoint: str | None = None,
) -> dict[str, Any]:
    """Run a task given as YAML text on `num_gpus` GPUs of `gpu_type`, whatever accelerators it asks for itself."""
    return await run_sky_task(
        task_yaml=task_yaml,
        resources={"accelerators": f"{gpu_type}:{num_gpus}"},
        envs_override=envs,
        secrets=secrets,
        api_server_endpoint=api_server_endpoint,
    )


@flow(name="sky_parallel_workflow", on_cancellation=[take_down_rest], persist_result=True, result_serializer="json")
async def sky_parallel_workflow(
    tasks: list[dict[str, Any]], max_parallel: int = 8, api_server_endpoint: str | None = None
) -> list[dict[str, Any]]:
    """Run tasks side by side, each on a cluster of its own; each is the arguments of one run_sky_task. Results come in their order.

    All run to their end even where one fails; then the first failure is raised.
    """
    free = asyncio.Semaphore(max_parallel)

    async def one(arguments: dict[str, Any]) -> dict[str, Any]:
        async with free:
            return await run_sky_task(**{"api_server_endpoint": api_server_endpoint, **arguments})

    async with sky_teardowns():
        results = await asyncio.gather(*(one(arguments) for arguments in tasks), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


def main() -> None:
    """Run the pipeline here and now, and say what came out."""
    try:
        result = asyncio.run(sky_train_workflow())
    except SkyOrchestrateError as error:
        # Prefect has just logged it whole.
        raise SystemExit(f"error: {str(error).splitlines()[0]}") from None
    for name, step in result["steps"].items():
        times = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in step["timings"].items() if seconds is not None)
        print(f"{name}: {times}")
    print(f"accuracy: {result['accuracy']}")


if __name__ == "__main__":
    main()
