"""`make demo`: the pipeline as a DAG run on the local SkyPilot, in this process."""

from __future__ import annotations

import os
import sys
from typing import Any

from pluggy import HookimplMarker

from local.demo import STEPS, Demo, DemoFailed, step_told
from local.demo_screen import Screen

AIRFLOW = "Airflow"
# Airflow's own marker, without the import of Airflow
hookimpl = HookimplMarker("airflow")
_PAGE = "http://127.0.0.1:8080/dags/{dag}/runs/{run}"


def settle() -> None:
    """Before Airflow is imported, which reads its settings then. A connection of the caller's is none of the demo's business."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW_CONN_SKYPILOT")]:
        del os.environ[name]


def run_pipeline(screen: Screen) -> tuple[str, dict[str, Any]]:
    from airflow.sdk.listener import get_listener_manager

    from airflow_local.prepare import prepare
    from airflow_local.run import accuracy, results
    from airflow_local.run import run_pipeline as run

    prepare()
    story = _Story(screen)
    story.hear_logs()
    get_listener_manager().add_listener(story)
    ended = run({})
    page = _PAGE.format(dag=ended.dag_id, run=ended.run_id)
    steps = results(ended)
    if ended.state != "success":
        raise DemoFailed(f"the DAG run ended {ended.state}; its log is above, and with `make ui` at {page}")
    return page, {"accuracy": accuracy(steps), "steps": steps}


class _Story:
    """What Airflow tells of tasks and their logs, as the screen has it."""

    def __init__(self, screen: Screen) -> None:
        self._screen, self._task = screen, ""

    def hear_logs(self) -> None:
        """The operators' and the trigger's lines go to the screen, and Airflow's own are dropped."""
        import structlog

        # In place: loggers that are made already keep this very list.
        processors: Any = structlog.get_config()["processors"]
        processors.insert(-1, self._line)

    @hookimpl
    def on_task_instance_running(self, previous_state: Any, task_instance: Any) -> None:  # noqa: ARG002  # Airflow's signature
        self._task = task_instance.task_id
        self._screen.end(AIRFLOW, task_instance.run_id)
        if self._task in STEPS:
            step_told(self._screen, self._task, ended=False)

    @hookimpl
    def on_task_instance_success(self, previous_state: Any, task_instance: Any) -> None:  # noqa: ARG002  # Airflow's signature
        if task_instance.task_id in STEPS:
            step_told(self._screen, task_instance.task_id, ended=True)

    def _line(self, logger: Any, method: str, event: Any) -> Any:  # noqa: ARG002  # structlog's signature
        from structlog import DropEvent

        if "sky_orchestrate.airflow" in str(event.get("logger", "")) or method in ("error", "critical", "exception"):
            self._screen.line(self._task, str(event.get("event", "")))
        raise DropEvent


if __name__ == "__main__":
    sys.exit(Demo(AIRFLOW, "Airflow's web page; this run is at {page}", run_pipeline, settle).main())
