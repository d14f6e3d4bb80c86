"""The pipeline under a scheduler that is up, against the same tasks by `sky` in turn; and the workers' slots that its waits hold.

From its trigger to the end of its DAG run, by which each cluster is shown to be gone. ROUNDS of both are run (1 by default), and the
medians compared.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from figures import Figure, report
from local import lifecycle
from pipeline import HERE, Variant, shares
from tests.e2e.airflow_run import Api, Run
from tests.e2e.orchestra import PIPELINE, serve
from tests.e2e.processes import keep_house

_ACTIVE = {"running", "queued", "scheduled", "restarting"}


def run_once(url: str, held: Path) -> None:
    """Trigger the pipeline and wait for its end; `held` gets the slots taken while nothing of it but a deferred task was there."""
    api = Api(url)
    api.log_in()
    told = api.post(f"/dags/{PIPELINE}/dagRuns", {"logical_date": None})
    run = Run(api, PIPELINE, told["dag_run_id"])
    slots: list[int] = json.loads(held.read_text()) if held.exists() else []
    while not run.over:
        states = {task["state"] for task in run.tasks}
        if "deferred" in states and not states & _ACTIVE:
            pool = api.get("/pools/default_pool")
            slots.append(pool["running_slots"] + pool["queued_slots"])
        time.sleep(0.3)
    held.write_text(json.dumps(slots))
    if run.state != "success":
        raise SystemExit(f"the DAG run ended {run.state}:\n" + "\n".join(run.logs))


def main() -> None:
    project, out = Path(sys.argv[1]), Path(sys.argv[2])
    endpoint = lifecycle.up(project)
    python = sys.executable
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        held = folder / "held.json"
        with keep_house(project, folder, SKY_ORCHESTRATE_INFRA="local", SKYPILOT_API_SERVER_ENDPOINT=endpoint) as household:
            served = serve(household, None)
            orchestra = next(served)
            orchestra.keep_a_worker()
            in_turn = Variant("`sky` in turn", ["bash", str(HERE / "in_turn.sh"), str(project), "RUN"])
            ours = Variant("the DAG run", [python, __file__, "run", orchestra.api.url, str(held)])
            environment = {
                **os.environ,
                "HOME": str(folder / "home"),
                "PATH": f"{Path(python).parent}:{os.environ['PATH']}",
                "SKYPILOT_API_SERVER_ENDPOINT": endpoint,
                "SKYPILOT_DISABLE_USAGE_COLLECTION": "1",
            }
            log = folder / "log"
            Variant("warming up", ours.command).run(environment, endpoint, log)
            for _ in range(int(os.environ.get("ROUNDS", "1"))):
                for variant in (in_turn, ours):
                    variant.run(environment, endpoint, log)
            next(served, None)
        slots = json.loads(held.read_text())
    if not slots:
        raise SystemExit("airflow_pipeline.py: no task was seen deferred")
    figures = [
        Figure("the pipeline as a DAG run, against `sky` in turn", ours.median / in_turn.median, most=0.85),
        Figure(f"workers' slots held while a job is waited for, at most, in {len(slots)} looks", max(slots), most=0),
    ]
    report(out, figures, shares([in_turn, ours]))


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run_once(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
