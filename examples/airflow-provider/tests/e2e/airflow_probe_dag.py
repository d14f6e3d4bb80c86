"""A DAG of one step, as a user writes one. The tests copy it into a folder of DAGs, with the step's arguments beside it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG

from sky_orchestrate.airflow.operators import SkyTaskOperator

_asked = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
_limit = _asked.pop("execution_timeout", None)

with DAG(dag_id=Path(__file__).stem, schedule=None, catchup=False) as dag:
    SkyTaskOperator(
        task_id="step",
        retry_delay=timedelta(seconds=1),
        execution_timeout=None if _limit is None else timedelta(seconds=_limit),
        **_asked,
    )
