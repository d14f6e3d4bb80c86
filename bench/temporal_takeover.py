"""From the kill -9 of a worker that follows a job to another worker that follows it, on the local SkyPilot."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from figures import Figure, report
from local import lifecycle
from temporal.dev_server import find_temporal
from temporal.steps import HEARTBEAT
from tests.e2e.jobs import Job
from tests.e2e.orchestra import Orchestra, serve
from tests.e2e.processes import keep_house, until


def main() -> None:
    project, out = Path(sys.argv[1]), Path(sys.argv[2])
    lifecycle.up(project)
    with tempfile.TemporaryDirectory() as name, keep_house(project, Path(name), SKY_ORCHESTRATE_INFRA="local") as household:
        for orchestra in serve(household, find_temporal()):
            took = takeover(orchestra, Job(Path(name)).gated())
    report(out, [Figure("another worker follows the job, after kill -9 of the first", took, "s", most=HEARTBEAT.total_seconds() + 10)])


def takeover(orchestra: Orchestra, job: Job) -> float:
    """The seconds from the kill to the line that tells of the other worker."""
    run = orchestra.step(job.yaml)
    until("the job has begun", lambda: job.began, within=180)
    second = orchestra.household.start("run_worker.py", log="worker")
    time.sleep(10)
    orchestra.kill_worker()
    began = time.monotonic()
    until("another worker follows the job", lambda: run.says("attached to job 1"), within=120, every=0.2)
    took = time.monotonic() - began
    job.open_gate()
    if run.verdict(within=120) != "Completed":
        raise SystemExit(f"the run ended badly: {run.message}")
    second.terminate()
    return took


if __name__ == "__main__":
    main()
