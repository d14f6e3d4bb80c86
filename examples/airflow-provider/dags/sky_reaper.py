"""Every 15 minutes: takes down what no run has a claim to any more, after a kill -9 or a power loss."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param

from sky_orchestrate.airflow.operators import SkyReapOperator

PARAMS: Any = {"dry_run": Param(default=False, type="boolean", description="Only tell what would be taken down")}

with DAG(
    dag_id="sky_reaper",
    description="Take down clusters whose run ended or was lost",
    schedule=timedelta(minutes=15),
    catchup=False,
    max_active_runs=1,
    tags=["skypilot", "maintenance"],
    params=PARAMS,
    is_paused_upon_creation=False,
) as dag:
    SkyReapOperator(task_id="reap", dry_run_only="{{ params.dry_run }}", retries=1, retry_delay=timedelta(minutes=1))
