"""A thousand deferred tasks in one triggerer, on a SkyPilot server in memory: what they cost it. WAITS is their number.

The triggerer is Airflow's own, its tasks stand in Airflow's database as a worker leaves them when it defers, and SkyPilot lives in the
triggerer's process, which counts what it is asked.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

WAITS = int(os.environ.get("WAITS", "1000"))
_WATCHED_SECONDS = 60.0
_DAG, _TASK = "bench_waits", "wait"
_YAML = "name: waits\nrun: |\n  echo begun\n  sleep 3600\n"
# What asks SkyPilot's server; a log stream is one request for as long as it lasts.
_SHORT = {"server", "active_requests", "cluster", "clusters", "queue", "job_status"}


class Counted:
    """SkyPilot in memory, made where it is first used, which is the triggerer's own loop. `asked` counts the short requests."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self._server: Any = None

    def connect(self, _settings: Any) -> Any:
        from tests.fake_sky import FakeServer, Speed

        if self._server is None:
            self._server = FakeServer(Speed(second=1.0))
        client, asked = self._server.client(launches=100), self.asked

        class Asking:
            def __getattr__(self, name: str) -> Any:
                if name in _SHORT:
                    asked[name] += 1
                return getattr(client, name)

        return Asking()

    def told(self) -> dict[str, float]:
        begun = len(self._server.submissions) if self._server else 0
        status = Path("/proc/self/status").read_text()
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024
        return {"begun": begun, "asked": sum(self.asked.values()), "peak": peak, "at": time.time()}


def trigger_waits(out: Path) -> None:
    """Airflow's triggerer, whose child tells each second in `out` how far it is."""
    from airflow.__main__ import main as airflow
    from sky_orchestrate.airflow import trigger
    from sky_orchestrate.airflow.hook import SkyHook

    sky = Counted()
    SkyHook.connect_to = staticmethod(sky.connect)

    def tell() -> None:
        while True:
            fresh = out.with_suffix(".new")
            fresh.write_text(json.dumps(sky.told()))
            fresh.replace(out)
            time.sleep(1)

    made = trigger.SkyTaskTrigger.__init__

    def watched(self: Any, **request: Any) -> None:
        # The first trigger is made in the child that runs them.
        if not any(thread.name == "tell" for thread in threading.enumerate()):
            threading.Thread(target=tell, name="tell", daemon=True).start()
        made(self, **request)

    trigger.SkyTaskTrigger.__init__ = watched
    sys.argv = ["airflow", "triggerer", "--capacity", str(WAITS), "--skip-serve-logs"]
    airflow()


def defer_all() -> None:
    """What a thousand workers leave behind when they defer."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import Trigger
    from airflow.sdk import DAG, timezone
    from airflow.serialization.definitions.dag import SerializedDAG
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.timetables.base import DataInterval
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState, TaskInstanceState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType
    from airflow_local.prepare import prepare
    from sky_orchestrate.airflow.attempt import StepRequest
    from sky_orchestrate.airflow.operators import SkyTaskOperator
    from sky_orchestrate.airflow.trigger import SkyTaskTrigger
    from sky_orchestrate.settings import load_settings

    prepare()
    with DAG(dag_id=_DAG, schedule=None, catchup=False) as dag:
        SkyTaskOperator.partial(task_id=_TASK, task_yaml=_YAML).expand(envs_override=[{"NUMBER": str(number)} for number in range(WAITS)])
    DagBundlesManager().sync_bundles_to_db()
    known = LazyDeserializedDAG.from_dag(dag)
    SerializedDAG.bulk_write_to_db("dags-folder", None, [known])
    SerializedDagModel.write_dag(known, bundle_name="dags-folder")
    now, slug = timezone.utcnow(), load_settings().slug
    with create_session() as session:
        scheduled: Any = SerializedDagModel.get_dag(_DAG, session=session)
        run = scheduled.create_dagrun(
            run_id="bench",
            logical_date=now,
            data_interval=DataInterval.exact(now),
            run_after=now,
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST,
            state=DagRunState.RUNNING,
            session=session,
        )
        waits: list[TaskInstance] = run.get_task_instances(session=session)
        for ti in waits:
            asked = StepRequest(_DAG, "bench", _TASK, ti.map_index, "skypilot_default", slug, task_yaml=_YAML)
            ti.trigger = Trigger.from_object(SkyTaskTrigger(**asdict(asked)))
            ti.state, ti.next_method, ti.start_date = TaskInstanceState.DEFERRED, "execute_complete", now
        if len(waits) != WAITS:
            raise SystemExit(f"airflow_waits.py: {len(waits)} tasks were mapped, not {WAITS}")


def main() -> None:
    from figures import Figure, report, say

    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "AIRFLOW_HOME": folder,
            "AIRFLOW__CORE__DAGS_FOLDER": folder,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__TRIGGERER__MAX_TRIGGER_TO_SELECT_PER_LOOP": str(WAITS),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        }
        subprocess.run([sys.executable, __file__, "defer"], env=environment, check=True)
        told, log = Path(folder) / "told.json", Path(folder) / "triggerer.log"
        with log.open("w") as out:
            command = [sys.executable, __file__, "trigger", str(told)]
            triggerer = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)
        try:
            began = until_all_run(told, triggerer, log)
            asyncio.run(asyncio.sleep(_WATCHED_SECONDS))
            ended = json.loads(told.read_text())
        finally:
            triggerer.terminate()
            triggerer.wait(120)
    minutes = (ended["at"] - began["at"]) / 60
    asked = (ended["asked"] - began["asked"]) / WAITS / minutes
    say(f"{ended['begun']:.0f} waits: at most {ended['peak']:.0f} MB, {asked:.2f} requests per wait and minute")
    figures = [
        Figure("deferred tasks that one triggerer waited for at once", ended["begun"]),
        Figure(f"{WAITS} deferred waits: memory of the triggerer at most", ended["peak"], "MB", most=400),
        Figure("short requests to SkyPilot's server per wait and minute", asked),
    ]
    report(Path(sys.argv[2]), figures)


def until_all_run(told: Path, triggerer: subprocess.Popen[bytes], log: Path) -> dict[str, float]:
    """What the triggerer tells once each of the jobs runs and the look after its launch is over."""
    for _ in range(600):
        now = json.loads(told.read_text()) if told.exists() else {"begun": 0}
        print(f"{now['begun']:.0f} of {WAITS} jobs begun", file=sys.stderr, flush=True)
        if now["begun"] >= WAITS:
            time.sleep(15)
            return json.loads(told.read_text())
        if triggerer.poll() is not None:
            break
        time.sleep(2)
    raise SystemExit(f"airflow_waits.py: the triggerer does not get there: {log.read_text()[-3000:]}")


if __name__ == "__main__":
    if sys.argv[1] == "defer":
        defer_all()
    elif sys.argv[1] == "trigger":
        trigger_waits(Path(sys.argv[2]))
    else:
        main()
