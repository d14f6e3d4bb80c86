"""Trains once per learning rate, a few clusters at a time, and ranks the trials. The pool `sky_sweep` says how many; `make ui` makes it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from sky_orchestrate.airflow.operators import SkyTaskOperator
from sky_orchestrate.naming import label
from sky_orchestrate.outputs import figure

METRIC = "validation_accuracy"
PARAMS: Any = {
    "learning_rates": Param([0.3, 0.1, 0.01], type="array", items={"type": "number"}, minItems=1, description="One trial each"),
    "epochs": Param(10, type="integer", minimum=1, description="How long each trial trains"),
}


@task
def trials() -> list[dict[str, str]]:
    """The envs of each trial."""
    context: Any = get_current_context()
    params, run_id = context["params"], context["run_id"]
    common = {"RUN_NAME": label(run_id), "EPOCHS": str(params["epochs"])}
    return [{**common, "LEARNING_RATE": str(rate)} for rate in params["learning_rates"]]


@task(trigger_rule="all_done")
def ranking(envs: list[dict[str, str]]) -> list[dict[str, Any]]:
    """The trials, best first; those that failed come last. It fails where none succeeded."""
    context: Any = get_current_context()
    results = [context["ti"].xcom_pull(task_ids="trial", map_indexes=index) or {} for index in range(len(envs))]
    values = [figure(result.get("outputs", {}).get(METRIC)) for result in results]
    ranked = sorted(zip(envs, values, strict=True), key=lambda trial: (trial[1] is None, -(trial[1] or 0.0)))
    for place, (env, value) in enumerate(ranked, 1):
        print(f"{place}. learning rate {env['LEARNING_RATE']}: {'failed' if value is None else value}")
    if ranked[0][1] is None:
        raise AirflowFailException(f"none of the {len(ranked)} trials put out a {METRIC}")
    return [{**env, METRIC: value} for env, value in ranked]


with DAG(
    dag_id="sky_sweep",
    description="Train with several learning rates and rank them",
    schedule=None,
    catchup=False,
    tags=["skypilot"],
    default_args={"retry_delay": timedelta(seconds=30)},
    user_defined_filters={"label": label},
    params=PARAMS,
) as dag:
    prepare = SkyTaskOperator(
        task_id="prepare", yaml_path="tasks/data_preprocessing.yaml", envs_override={"RUN_NAME": "{{ run_id | label }}"}, retries=2
    )
    envs: Any = trials()
    trial = SkyTaskOperator.partial(
        task_id="trial",
        yaml_path="tasks/train.yaml",
        pool="sky_sweep",
        retries=1,
        map_index_template="{{ task.envs_override['LEARNING_RATE'] }}",
    ).expand(envs_override=envs)
    prepare >> trial >> ranking(envs)
