"""The pipeline in pods: preprocess, train and evaluate on SkyPilot clusters that go down whatever becomes of the run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Asset, Param, get_current_context, teardown
from airflow.sdk.exceptions import AirflowFailException

from sky_orchestrate.airflow_pods.operator import SkyPodOperator
from sky_orchestrate.naming import label

MODEL = Asset("sky_trained_model", uri="x-sky://model")
PARAMS: Any = {
    "epochs": Param(30, type="integer", minimum=1, description="How long to train"),
    "data_bucket_url": Param("", type="string", description="s3:// gs:// az:// r2://; empty: the project's bucket"),
    "data_bucket_name": Param("", type="string", description="The same in two parts: a bucket's name"),
    "data_bucket_store_type": Param("s3", type="string", enum=["s3", "gcs", "azure", "r2"], description="and what store it is"),
}
ENVS = {
    "RUN_NAME": "{{ run_id | label }}",
    "EPOCHS": "{{ params.epochs }}",
    "DATA_BUCKET_URL": "{{ params.data_bucket_url }}",
    "DATA_BUCKET_NAME": "{{ params.data_bucket_name }}",
    "DATA_BUCKET_STORE_TYPE": "{{ params.data_bucket_store_type if params.data_bucket_name else '' }}",
}


def tell_failure(context: Any) -> None:
    """Where a message to people would go. Clusters need none: theirs are the teardown tasks."""
    ti = context["ti"]
    print(f"{ti.dag_id}: {ti.task_id} failed in run {ti.run_id}: {context.get('exception')}")


def get_skypilot_task(task_id: str, sky_command: list[str], **arguments: Any) -> SkyPodOperator:
    """One command of `python -m sky_orchestrate` as a task. No shell reads it."""
    return SkyPodOperator(task_id=task_id, sky_command=sky_command, **arguments)


def run_sky_task(task_id: str, yaml_path: str, *, cluster: str, **arguments: Any) -> SkyPodOperator:
    """One task file as a task of this DAG, on a cluster that the run knows by a name."""
    envs = [part for name, value in ENVS.items() for part in ("--env", f"{name}={value}")]
    return get_skypilot_task(task_id, ["run", yaml_path, "--cluster", cluster, *envs], **arguments)


@teardown(on_failure_fail_dagrun=True)
def nothing_left() -> None:
    """Fails a run of which any task failed. A teardown too, for a run that is marked failed skips all other tasks, and would end well."""
    context: Any = get_current_context()
    ti = context["ti"]
    states = ti.get_task_states(ti.dag_id, run_ids=[ti.run_id])[ti.run_id]
    failed = sorted(name for name, state in states.items() if state in ("failed", "upstream_failed"))
    if failed:
        raise AirflowFailException(f"failed: {', '.join(failed)}")


with DAG(
    dag_id="sky_k8s_train_pipeline",
    description="Preprocess, train and evaluate on SkyPilot, from pods",
    schedule=None,
    catchup=False,
    tags=["skypilot"],
    # A shared cluster idles between two tries.
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30), "on_failure_callback": tell_failure},
    # A run's id as a name that any bucket takes
    user_defined_filters={"label": label},
    params=PARAMS,
) as dag:
    preprocess = run_sky_task("data_preprocessing", "tasks/data_preprocessing.yaml", cluster="data")
    train = run_sky_task("train", "tasks/train.yaml", cluster="train", outlets=[MODEL])
    evaluate = run_sky_task("eval", "tasks/eval.yaml", cluster="train")
    preprocess >> train >> evaluate

    # A teardown runs beside the next step, and whatever became of what is before it; Airflow leaves it out of the run's verdict, and the
    # task after both is what fails a run of which a cluster may be left.
    data_down = get_skypilot_task("data_down", ["down", "data"]).as_teardown()
    train_down = get_skypilot_task("train_down", ["down", "train"]).as_teardown()
    preprocess >> data_down
    [train, evaluate] >> train_down
    verdict: Any = nothing_left()
    [data_down, train_down] >> verdict
