"""`make run`: the pipeline, task after task, in this process. Ctrl-C takes its clusters down."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

from airflow_local.prepare import prepare
from sky_orchestrate import naming
from sky_orchestrate.client import connect
from sky_orchestrate.reaper import RunState, reap
from sky_orchestrate.settings import load_settings

DAG_ID = "sky_k8s_train_pipeline"
STEPS = ("data_preprocessing", "train", "eval")


def run_pipeline(params: dict[str, Any]) -> Any:
    """The DAG run, ended. With KeyboardInterrupt its clusters go down first."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from dags.sky_train_pipeline import dag

    try:
        return dag.test(run_conf=params)
    except KeyboardInterrupt:
        with create_session() as session:
            run_id = session.scalar(select(DagRun.run_id).where(DagRun.dag_id == DAG_ID).order_by(DagRun.id.desc()).limit(1))
        take_down_run(f"{DAG_ID}/{run_id}")
        raise


def take_down_run(name: str) -> None:
    """Every cluster that a run by this name in its RunKey has left."""

    async def over(label: str) -> RunState:
        return RunState(over=label == naming.label(name), ended_at=0.0)

    settings = load_settings()
    for one in asyncio.run(reap(connect(settings), owner=settings.owner, run_state=over, grace=0)):
        if one.action != "left":
            print(f"{one.cluster}: {one.action}: {one.reason}")


def results(dag_run: Any) -> dict[str, dict[str, Any]]:
    """TaskResult's data of each step that has one."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        rows: Any = session.scalars(XComModel.get_many(run_id=dag_run.run_id, dag_ids=DAG_ID, task_ids=STEPS, key="return_value"))
        told = {row.task_id: XComModel.deserialize_value(row) for row in rows}
    return {name: told[name] for name in STEPS if name in told}


def accuracy(steps: dict[str, dict[str, Any]]) -> Any:
    return steps.get("eval", {}).get("outputs", {}).get("accuracy")


def read_params(arguments: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE each, a value being JSON or, where it is none, text."""
    params: dict[str, Any] = {}
    for argument in arguments:
        name, given, value = argument.partition("=")
        if not given:
            raise SystemExit(f"error: {argument!r} is no param; it would be right as epochs=10")
        try:
            params[name] = json.loads(value)
        except ValueError:
            params[name] = value
    return params


def main() -> int:
    parser = argparse.ArgumentParser(prog="make run", description="Run the pipeline in this process.")
    parser.add_argument("params", nargs="*", metavar="PARAM=VALUE", help="params of the DAG, such as epochs=10")
    params = read_params(parser.parse_args().params)
    prepare()
    dag_run = run_pipeline(params)
    steps = results(dag_run)
    for name, step in steps.items():
        print(f"{name}: {', '.join(f'{what} {seconds:.1f} s' for what, seconds in step['timings'].items() if seconds is not None)}")
    print(f"accuracy: {accuracy(steps)}")
    if dag_run.state != "success":
        print(f"error: the run ended {dag_run.state}; its log is above", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
