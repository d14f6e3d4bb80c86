"""DAGs of one test, run whole by Airflow's own `dag.test()`: scheduling, database, deferral and XCom are the real ones."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.xcom import XComModel
from airflow.sdk import DAG
from airflow.serialization.definitions.dag import SerializedDAG
from airflow.serialization.serialized_objects import LazyDeserializedDAG
from airflow.utils.session import create_session

from sky_orchestrate.airflow.operators import SkyTaskOperator

_BUNDLE = "dags-folder"


@dataclass(frozen=True)
class Ended:
    """A DAG run that is over."""

    dag_id: str
    run_id: str
    state: str
    tasks: dict[str, str]

    def xcom(self, task_id: str, key: str = "return_value") -> Any:
        with create_session() as session:
            query = XComModel.get_many(run_id=self.run_id, dag_ids=self.dag_id, task_ids=task_id, key=key)
            rows: Any = list(session.scalars(query))
        values = [XComModel.deserialize_value(row) for row in rows]
        return values[0] if values else None


def new_dag(**given: Any) -> DAG:
    return DAG(dag_id=f"test_{uuid.uuid4().hex[:8]}", schedule=None, catchup=False, **given)


def run(dag: DAG, **conf: Any) -> Ended:
    _make_known(dag)
    ended: Any = dag.test(run_conf=conf or None)
    states = {ti.task_id: str(ti.state) for ti in ended.get_task_instances()}
    return Ended(ended.dag_id, ended.run_id, str(ended.state), states)


def _make_known(dag: DAG) -> None:
    """As the DAG processor does with one that it finds in the folder."""
    DagBundlesManager().sync_bundles_to_db()
    known = LazyDeserializedDAG.from_dag(dag)
    SerializedDAG.bulk_write_to_db(_BUNDLE, None, [known])
    SerializedDagModel.write_dag(known, bundle_name=_BUNDLE)


def sky_task(task_id: str = "train", run: str = "echo done", **given: Any) -> SkyTaskOperator:
    return SkyTaskOperator(task_id=task_id, task_yaml=f"name: {task_id}\nrun: |\n  {run}\n", **given)
