"""Airflow's own processes on this machine, whole: scheduler, triggerer, DAG processor and API server, as both flavours test with them."""

from __future__ import annotations

import json
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil

from tests.e2e.airflow_run import Api, Run
from tests.e2e.processes import Household, kill_9, until

_HERE = Path(__file__).parent


@dataclass
class Airflow:
    """Airflow's processes by their names, and `worker`, the one that the tests kill: a deferred task's is the triggerer."""

    household: Household
    api: Api
    dags: Path
    runs: list[Run] = field(default_factory=list)
    processes: dict[str, psutil.Process] = field(default_factory=dict)

    def start(self, name: str, *arguments: str, environ: Mapping[str, str] | None = None) -> None:
        self.processes[name] = self.household.start("-m", "airflow", name, *arguments, log=name, environ=environ)

    def start_scheduler(self) -> None:
        self.start("scheduler", "--skip-serve-logs")

    def restart_scheduler(self) -> None:
        """After kill -9 of it and of the workers that are its children."""
        kill_9(self.processes["scheduler"])
        self.start_scheduler()

    @property
    def worker(self) -> psutil.Process | None:
        found = self.processes.get("triggerer")
        return found if found and found.is_running() and found.status() != psutil.STATUS_ZOMBIE else None

    def start_worker(self, *, home: Path | None = None, environ: Mapping[str, str] | None = None) -> None:
        """A triggerer; `home` makes it another machine's: another user to SkyPilot."""
        self.start("triggerer", "--skip-serve-logs", environ={**({} if home is None else {"HOME": str(home)}), **(environ or {})})

    def stop_worker(self) -> None:
        """As a redeploy does: SIGTERM, and its end is waited for."""
        if self.worker is not None:
            self.worker.terminate()
            self.worker.wait(timeout=60)

    def kill_worker(self) -> None:
        """kill -9 of the triggerer and of the tasks that run meanwhile."""
        assert self.worker is not None
        kill_9(self.worker, *self.task_processes())

    def task_processes(self) -> list[psutil.Process]:
        """Those that carry out a task's own code, each under a worker of the scheduler's."""
        workers = self.processes["scheduler"].children()
        return [task for worker in workers if "LocalExecutor" in " ".join(worker.cmdline()) for task in worker.children()]

    def dag(self, source: str, asked: Mapping[str, Any]) -> str:
        """A DAG of that source, new to Airflow. Returns its id."""
        name = f"e2e_{uuid.uuid4().hex[:8]}"
        (self.dags / f"{name}.json").write_text(json.dumps(asked))
        shutil.copyfile(_HERE / source, self.dags / f"{name}.py")
        return name

    def trigger(self, dag_id: str, **conf: str) -> Run:
        """A run of it, once Airflow has found it."""
        until(f"{dag_id} is known: {self.api.get('/importErrors')['import_errors']}", lambda: self.api.get(f"/dags/{dag_id}"), within=60)
        asked = {"dag_run_id": f"e2e-{uuid.uuid4().hex[:8]}", "logical_date": None, "conf": conf}
        told = self.api.post(f"/dags/{dag_id}/dagRuns", asked)
        self.runs.append(Run(self.api, dag_id, told["dag_run_id"]))
        return self.runs[-1]


Flavour = TypeVar("Flavour", bound=Airflow)


def serve_airflow(household: Household, flavour: Callable[[Household, Api, Path], Flavour], known: Sequence[str]) -> Iterator[Flavour]:
    """Airflow, with the project's DAGs and a folder for those of the tests; `known` are DAGs that it has found then."""
    dags = household.folder / "dags"
    dags.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    household.environ.update(_settings(household, port, dags))
    ready = household.run("-m", "airflow_local.prepare", within=180)
    assert ready.returncode == 0, ready.stdout + ready.stderr
    airflow = flavour(household, Api(f"http://127.0.0.1:{port}"), dags)
    airflow.start("api-server", "--port", str(port))
    airflow.start("dag-processor")
    airflow.start_scheduler()
    until("Airflow's API server answers", airflow.api.log_in, within=120)
    until("the project's DAGs are known", lambda: all(airflow.api.get(f"/dags/{dag}") for dag in known), within=120)
    yield airflow
    airflow.api.client.close()


def _settings(household: Household, port: int, dags: Path) -> dict[str, str]:
    """As `make ui` has them, on a port of its own, with DAGs found and the dead missed within seconds."""
    bundle = "airflow.dag_processing.bundles.local.LocalDagBundle"
    bundles = [
        {"name": "dags-folder", "classpath": bundle, "kwargs": {"path": str(household.root / "dags"), "refresh_interval": 300}},
        {"name": "e2e", "classpath": bundle, "kwargs": {"path": str(dags), "refresh_interval": 1}},
    ]
    asked = {
        "core": {"load_examples": False, "simple_auth_manager_all_admins": True, "dags_are_paused_at_creation": False, "parallelism": 12},
        "api": {"host": "127.0.0.1", "base_url": f"http://127.0.0.1:{port}"},
        "operators": {"default_deferrable": True},
        "dag_processor": {
            "dag_bundle_config_list": json.dumps(bundles),
            "bundle_refresh_check_interval": 1,
            "min_file_process_interval": 3600,
            "stale_dag_threshold": 7200,
        },
        "scheduler": {
            # The tests ask the reaper themselves.
            "use_job_schedule": False,
            # As orchestrator.mk has it.
            "scheduler_idle_sleep_time": 0.2,
            "scheduler_heartbeat_sec": 1,
            "job_heartbeat_sec": 2,
            "scheduler_health_check_threshold": 10,
            "orphaned_tasks_check_interval": 10,
            "task_instance_heartbeat_timeout": 30,
            "task_instance_heartbeat_timeout_detection_interval": 5,
            "trigger_timeout_check_interval": 5,
        },
        "triggerer": {"job_heartbeat_sec": 2, "triggerer_health_check_threshold": 10},
    }
    given = {f"AIRFLOW__{section}__{name}".upper(): str(value) for section, values in asked.items() for name, value in values.items()}
    return {
        **given,
        "AIRFLOW_HOME": str(household.folder / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(household.root / "dags"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "SKY_ORCHESTRATE_REAPER_GRACE": "0",
        # Airflow gives its processes titles, which would lie over the mark that they are found and ended by.
        "SPT_NOENV": "1",
    }
