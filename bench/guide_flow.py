"""The order of calls of SkyPilot's own guide for Prefect, on this project's tasks: launch, stream_and_get, tail_logs, down.

`python guide_flow.py PROJECT RUN_NAME`. The guide changes folders, lets one task run at a time, and looks at no exit code.
"""

from __future__ import annotations

import os
import sys
import uuid
from pathlib import Path

import yaml
from prefect import flow, get_run_logger, task


@task(name="run_sky_task", retries=2, retry_delay_seconds=30)
def run_sky_task(base_path: str, yaml_path: str, envs_override: dict[str, str], cluster_prefix: str) -> str:
    import sky

    logger = get_run_logger()
    os.chdir(base_path)
    config = yaml.safe_load(Path(yaml_path).read_text(encoding="utf-8"))
    config["envs"].update(envs_override)
    config["resources"]["infra"] = "slurm"
    cluster = f"{cluster_prefix}-{str(uuid.uuid4())[:4]}"
    request = sky.launch(sky.Task.from_yaml_config(config), cluster_name=cluster, down=True)
    job_id, _ = sky.stream_and_get(request)
    logger.info(f"Task launched with job_id: {job_id}")
    sky.tail_logs(cluster_name=cluster, job_id=job_id, follow=True)
    sky.stream_and_get(sky.down(cluster))
    logger.info(f"Cluster {cluster} terminated successfully")
    return cluster


@flow(name="guide")
def sky_train_workflow(base_path: str, run_name: str) -> None:
    envs = {"RUN_NAME": run_name, "DATA_BUCKET_URL": f"file://{base_path}/.local/bucket"}
    for step in ("data_preprocessing", "train", "eval"):
        run_sky_task(base_path, f"tasks/{step}.yaml", envs, cluster_prefix=f"guide-{step[:4]}")


if __name__ == "__main__":
    sky_train_workflow(sys.argv[1], sys.argv[2])
