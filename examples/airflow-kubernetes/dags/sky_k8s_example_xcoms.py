"""The guide's second example: what a step leaves in its XCom, a cluster's name and what its job put out, goes on to the next ones."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task

from sky_orchestrate.airflow_pods.operator import SkyPodOperator
from sky_orchestrate.naming import label

ENVS = ["--env", "RUN_NAME={{ run_id | label }}", "--env", "EPOCHS=5"]


def get_skypilot_task(task_id: str, sky_command: list[str], **arguments: Any) -> SkyPodOperator:
    """One command of `python -m sky_orchestrate` as a task, such as ["run", "tasks/train.yaml"]. No shell reads it."""
    return SkyPodOperator(task_id=task_id, sky_command=sky_command, **arguments)


@task
def report(result: dict[str, Any]) -> str:
    """A task as any other: it runs on a worker, and reads what a pod has put out."""
    said = f"{result['cluster_name']}: job {result['job_id']} {result['status']}, {result['outputs']}"
    print(said)
    return said


with DAG(
    dag_id="sky_k8s_example_xcoms",
    description="Hand a cluster's name and a job's outputs on by XCom",
    schedule=None,
    catchup=False,
    tags=["skypilot", "example"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    # A run's id as a name that any bucket takes
    user_defined_filters={"label": label},
) as dag:
    sky_launch = get_skypilot_task("sky_launch", ["run", "tasks/data_preprocessing.yaml", "--cluster", "example", *ENVS])
    # The name as SkyPilot has it, which any tool of SkyPilot's takes too.
    cluster = "{{ ti.xcom_pull(task_ids='sky_launch')['cluster_name'] }}"
    sky_logs = get_skypilot_task("sky_logs", ["logs", cluster], within_run=False)
    sky_down = get_skypilot_task("sky_down", ["down", "example"]).as_teardown(on_failure_fail_dagrun=True)

    told: Any = report(sky_launch.output)  # pyright: ignore[reportArgumentType]  # the value, once it is there
    sky_launch >> sky_logs >> sky_down
    told >> sky_down
    sky_launch >> sky_down
