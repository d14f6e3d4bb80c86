"""The provider guide's operators on clusters: launch, exec and down."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import Any

from airflow.exceptions import AirflowProviderDeprecationWarning
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from sky_orchestrate.airflow.hook import SkyHook
from sky_orchestrate.airflow.runs import AirflowRun
from sky_orchestrate.airflow.task_operator import SkyTaskOperator, take_down, told_to_airflow

RESULT = "sky_result"


class SkyLaunchOperator(SkyTaskOperator):
    """Launch a cluster with a task and wait for its job. Its XCom is the cluster's name; the job's result is in XCom as `sky_result`.

    `cloud` is one of SkyPilot's, or "cheapest": the task file's own infra or .env's, and where neither names one, the cheapest there is.
    `gpus` are NAME:COUNT, `minimum_cpus` a number, `minimum_memory` GB. With `auto_down=False` the cluster stays for the tasks that follow:
    it is called `cluster` within the DAG run (by default as the task), and a SkyDownOperator takes it down.
    """

    template_fields: Collection[str] = (*SkyTaskOperator.template_fields, "sky_task_yaml", "cloud", "gpus")
    result_key = RESULT

    def __init__(
        self,
        *,
        sky_task_yaml: str,
        cloud: str = "cheapest",
        gpus: str | None = None,
        minimum_cpus: float | None = None,
        minimum_memory: float | None = None,
        auto_down: bool = True,
        cluster: str | None = None,
        sky_home_dir: str | None = None,
        **kwargs: Any,
    ) -> None:
        deprecate_home(sky_home_dir)
        if cluster is not None and auto_down:
            raise ValueError(f"{kwargs['task_id']}: cluster is a name for the tasks that follow, and needs auto_down=False")
        super().__init__(cluster=None if auto_down else cluster or kwargs["task_id"], **kwargs)
        self.sky_task_yaml, self.cloud, self.gpus = sky_task_yaml, cloud, gpus
        self.minimum_cpus, self.minimum_memory = minimum_cpus, minimum_memory

    def settle(self) -> None:
        self.yaml_path = self.sky_task_yaml
        self.infra = self.infra or (None if self.cloud == "cheapest" else self.cloud)
        asked = {"accelerators": self.gpus, "cpus": _at_least(self.minimum_cpus), "memory": _at_least(self.minimum_memory)}
        self.task_resources = {**{name: value for name, value in asked.items() if value}, **(self.task_resources or {})}


class SkyExecOperator(SkyTaskOperator):
    """Run a task on a cluster that is there, after the job that runs on it, and without setup where the cluster is set up for the task.

    `cluster_name` is SkyPilot's name for it, such as a SkyLaunchOperator's `.output`, or `cluster` is its name within the DAG run. Its XCom
    is the cluster's name; the job's result is in XCom as `sky_result`.
    """

    template_fields: Collection[str] = (*SkyTaskOperator.template_fields, "sky_task_yaml")
    result_key = RESULT

    def __init__(self, *, sky_task_yaml: str, sky_home_dir: str | None = None, **kwargs: Any) -> None:
        deprecate_home(sky_home_dir)
        super().__init__(**kwargs)
        one_cluster(self)
        self.sky_task_yaml = sky_task_yaml

    def settle(self) -> None:
        self.yaml_path = self.sky_task_yaml


class SkyDownOperator(BaseOperator):
    """Take a cluster down, and show that it is gone: neither SkyPilot's record nor a request for it is left.

    `cluster_name` is SkyPilot's name for it, or `cluster` its name within the DAG run. `SkyDownOperator(...).as_teardown()` after the
    cluster's tasks takes it down whether they succeeded, failed or were never reached.
    """

    template_fields: Collection[str] = ("cluster", "cluster_name", "cluster_prefix", "conn_id")
    ui_color = "#f3e9e9"

    def __init__(
        self,
        *,
        cluster: str | None = None,
        cluster_name: Any = None,
        cluster_prefix: str | None = None,
        conn_id: str = SkyHook.default_conn_name,
        sky_home_dir: str | None = None,
        **kwargs: Any,
    ) -> None:
        deprecate_home(sky_home_dir)
        super().__init__(**kwargs)
        self.cluster, self.cluster_name, self.cluster_prefix, self.conn_id = cluster, cluster_name, cluster_prefix, conn_id
        one_cluster(self)

    def execute(self, context: Any) -> str:
        name = found_cluster(self, context)
        take_down(name, SkyHook(self.conn_id), say=lambda line: self.log.info("%s", line))
        return name


def found_cluster(operator: Any, context: Any) -> str:
    """SkyPilot's name of the cluster that an operator's `cluster_name` or `cluster` means."""
    if not operator.cluster:
        if not operator.cluster_name:
            raise AirflowFailException(f"{operator.task_id}: cluster_name is empty; did the task that gives it run?")
        return str(operator.cluster_name)
    settings = told_to_airflow(SkyHook(operator.conn_id).settings)
    run = AirflowRun(context["ti"].dag_id, context["ti"].run_id)
    return run.shared_cluster(settings.owner, operator.cluster_prefix or settings.slug, operator.cluster)


def one_cluster(operator: Any) -> None:
    if (operator.cluster is None) == (operator.cluster_name is None):
        raise ValueError(
            f"{operator.task_id}: give cluster (a name within the DAG run) or cluster_name (SkyPilot's), and one of them alone"
        )


def deprecate_home(sky_home_dir: str | None) -> None:
    if sky_home_dir is not None:
        said = "sky_home_dir does nothing any more: SkyPilot's API server holds that state now; leave it out"
        warnings.warn(said, AirflowProviderDeprecationWarning, stacklevel=3)


def _at_least(number: float | None) -> str | None:
    return None if number is None else f"{number:g}+"
