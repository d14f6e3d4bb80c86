"""A thousand jobs followed by one worker at once, on a SkyPilot server in memory: what they cost it. WAITS is their number."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from fan_out import _end_all
from figures import Figure, report, say
from sky_orchestrate.settings import Settings
from temporal.activities import SkyActivities
from temporal.messages import SkyTaskInput
from temporal.run_state import run_states_of
from temporal.worker import make_worker
from temporal.worker_settings import WorkerSettings
from temporal.workflows import SkyTaskWorkflow
from temporalio.client import Client
from tests.fake_sky import FakeServer, Speed
from tests.temporal.dev_server import dev_server

WAITS = int(os.environ.get("WAITS", "1000"))
_QUEUE = "waits"
_STARTED = time.monotonic()
_YAML = "name: waits\nrun: |\n  echo begun\n  sleep 3600\n"


async def work(address: str) -> dict[str, float]:
    """A worker whose jobs all end 30 s after the last of them began."""
    server = FakeServer(Speed(second=1.0))
    client = await Client.connect(address)
    settings = Settings(root=Path.cwd(), slug="bench", owner="bench", launches=100)
    activities = SkyActivities(settings, run_states_of(client), connect=lambda _: server.client(launches=100))
    async with make_worker(client, activities, WorkerSettings(task_queue=_QUEUE, activities=WAITS + 200)):
        while (begun := len(server.submissions)) < WAITS:
            tell(f"{begun} of {WAITS} jobs begun")
            await asyncio.sleep(1)
        tell("all begun; another 30 s")
        await asyncio.sleep(30)
        waiting = sum(job.status.live for cluster in server.clusters.values() for job in cluster.jobs)
        memory = _memory("VmRSS")
        _end_all(server)
        while left := len(server.left):
            tell(f"{left} clusters to be taken down")
            await asyncio.sleep(1)
        tell("the worker stops")
    return {"waiting": waiting, "memory": memory, "peak": _memory("VmHWM")}


def tell(news: str) -> None:
    print(f"{time.monotonic() - _STARTED:4.0f} s: {news}", file=sys.stderr, flush=True)


def _memory(what: str) -> float:
    """Megabytes of this process."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(what)) / 1024


async def start_all(address: str) -> None:
    client = await Client.connect(address)
    asked = SkyTaskInput(yaml_content=_YAML, cluster_prefix="waits")
    for first in range(0, WAITS, 50):
        numbers = range(first, min(first + 50, WAITS))
        await asyncio.gather(
            *(client.start_workflow(SkyTaskWorkflow.run, asked, id=f"wait-{number}", task_queue=_QUEUE) for number in numbers)
        )


def main() -> None:
    with dev_server() as address:
        worker = subprocess.Popen([sys.executable, __file__, "work", address], stdout=subprocess.PIPE, text=True)
        asyncio.run(start_all(address))
        said, _ = worker.communicate(timeout=900)
        if worker.returncode:
            raise SystemExit("temporal_waits.py: the worker failed")
    found = json.loads(said.splitlines()[-1])
    say(f"{found['waiting']} waits: {found['memory']:.0f} MB, at most {found['peak']:.0f} MB")
    figures = [
        Figure("jobs that one worker followed at once", found["waiting"]),
        Figure(f"{WAITS} concurrent waits: memory of the worker at most", found["peak"], "MB", most=300),
    ]
    report(Path(sys.argv[2]), figures)


if __name__ == "__main__":
    if sys.argv[1] == "work":
        print(json.dumps(asyncio.run(work(sys.argv[2]))))
    else:
        main()
