"""All six operators of the provider guide on one cluster: launch, exec, ssh, rsync up and down, down."""

from __future__ import annotations

import os
from pathlib import Path

import yaml
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from sky_orchestrate.airflow.operators import (
    SkyDownOperator,
    SkyExecOperator,
    SkyLaunchOperator,
    SkyRsyncDownOperator,
    SkyRsyncUpOperator,
    SkySSHOperator,
)

PROJECT = Path(__file__).resolve().parent.parent
# Airflow's own default where nothing names it
HOME = os.environ.get("AIRFLOW_HOME", "~/airflow")
# One cluster for both tasks: it has what training asks for.
GPUS = yaml.safe_load((PROJECT / "tasks" / "train.yaml").read_text(encoding="utf-8"))["resources"].get("accelerators")
ENVS = {"RUN_NAME": "provider-example", "EPOCHS": "5"}

with DAG(
    dag_id="sky_provider_example",
    description="The provider guide's operators, one after the other on one cluster",
    schedule=None,
    catchup=False,
    tags=["skypilot", "example"],
) as dag:
    launch = SkyLaunchOperator(
        task_id="sky_launch_task",
        sky_task_yaml="tasks/data_preprocessing.yaml",
        cloud="cheapest",
        gpus=GPUS,
        minimum_cpus=2,
        auto_down=False,
        cluster="example",
        envs_override=ENVS,
    )
    train = SkyExecOperator(task_id="sky_exec_task", cluster_name=launch.output, sky_task_yaml="tasks/train.yaml", envs_override=ENVS)
    made = SkySSHOperator(task_id="sky_ssh_task", cluster_name=train.output, command="mkdir -p ~/uploaded && hostname > ~/'its name.txt'")
    up = SkyRsyncUpOperator(
        task_id="sky_rsync_up_task", cluster_name=made.output, source=f"{PROJECT}/tasks/", target="~/uploaded/tasks of {{ run_id }}"
    )
    fetched = SkyRsyncDownOperator(
        task_id="sky_rsync_down_task",
        cluster_name=up.output,
        source="~/its name.txt",
        target=f"{HOME}/name of {{{{ run_id }}}}.txt",
    )
    down = SkyDownOperator(task_id="sky_down_task", cluster="example").as_teardown()
    [launch, train, made, up, fetched] >> down >> EmptyOperator(task_id="nothing_left")
