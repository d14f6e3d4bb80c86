"""The guide's example: launch a cluster, print its log, list the run's clusters, take it down. Each step is a pod."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from sky_orchestrate.airflow_pods.operator import SkyPodOperator


def get_skypilot_task(task_id: str, sky_command: list[str], **arguments: Any) -> SkyPodOperator:
    """One command of `python -m sky_orchestrate` as a task, such as ["run", "tasks/train.yaml"]. No shell reads it."""
    return SkyPodOperator(task_id=task_id, sky_command=sky_command, **arguments)


with DAG(
    dag_id="sky_k8s_example",
    description="Launch a SkyPilot cluster, read its log, list it and take it down",
    schedule=None,
    catchup=False,
    tags=["skypilot", "example"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
) as dag:
    # A name within the DAG run: the steps after it find the same cluster, and two runs at once have one each.
    sky_launch = get_skypilot_task("sky_launch", ["run", "tasks/data_preprocessing.yaml", "--cluster", "train"])
    sky_logs = get_skypilot_task("sky_logs", ["logs", "train"])
    sky_status = get_skypilot_task("sky_status", ["status"])
    # A teardown runs whatever became of the tasks before it.
    sky_down = get_skypilot_task("sky_down", ["down", "train"]).as_teardown(on_failure_fail_dagrun=True)

    sky_launch >> sky_logs >> sky_status >> sky_down
    sky_launch >> sky_down
