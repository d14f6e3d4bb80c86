"""From the end of a job's log to the verdict, and from there to the teardown's request: on success, failure and cancel, on the real server.

The verdict of a success is when run_sky_task returns in the flow. A failure is raised after its teardown, so its verdict is the teardown's
first question to the server; and a cancel's is counted from where the flow is cancelled.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from figures import Figure, report, say
from prefect_server import prefect_server
from watched import Watched

_TASK = "name: verdict\nresources:\n  cpus: 1+\nrun: |\n  {}\n"
_JOBS = {"success": "echo done", "failure": "exit 3", "cancel": "sleep 600"}


@dataclass(frozen=True)
class Moments:
    """Seconds from the log's end (or the cancel) to the verdict, and from the verdict to `down`."""

    verdict: float
    teardown: float


async def moments(ending: str, client: Callable[[], Watched]) -> Moments:
    from flows.scope import sky_teardowns
    from flows.sky_train_flow import run_sky_task
    from prefect import flow

    returned: list[float] = []

    @flow(name=f"verdict-{ending}")
    async def one_step() -> None:
        async with sky_teardowns():
            await run_sky_task.with_options(retries=0)(task_yaml=_TASK.format(_JOBS[ending]))
            returned.append(time.monotonic())

    run = asyncio.ensure_future(one_step())
    if ending == "cancel":
        while not any(call.what == "tail_logs" for call in client().calls):
            await asyncio.sleep(0.5)
        await asyncio.sleep(5)
        ended = time.monotonic()
        run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    watched = client()
    if ending != "cancel":
        ended = watched.last_end("tail_logs")
    asked = watched.first("active_requests", after=ended)
    verdict = returned[0] if returned else asked
    down = watched.first("down", after=ended)
    return Moments(verdict - ended, max(0.0, down - verdict))


async def main() -> None:
    project, out = Path(sys.argv[1]), Path(sys.argv[2])
    from local import lifecycle

    os.environ["SKYPILOT_API_SERVER_ENDPOINT"] = lifecycle.up(project)
    os.environ["SKY_ORCHESTRATE_INFRA"] = "local"

    from flows import portal
    from sky_orchestrate.client import connect

    figures: list[Figure] = []
    for ending in _JOBS:
        watched: list[Watched] = []
        portal._portal = portal.Portal(connect=lambda settings, watched=watched: watched.append(Watched(connect(settings))) or watched[0])
        found = await moments(ending, lambda watched=watched: watched[0] if watched else Watched(None))  # type: ignore[arg-type]  # none yet: it saw nothing
        say(f"{ending}: verdict after {found.verdict:.2f} s, teardown requested {found.teardown:.2f} s later")
        start = "cancel" if ending == "cancel" else "end of the log"
        figures.append(Figure(f"{ending}: {start} to verdict", found.verdict, "s", most=1))
        figures.append(Figure(f"{ending}: verdict to the teardown's request", found.teardown, "s", most=1))
    report(out, figures)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, prefect_server(Path(folder)) as prefect:
        os.environ.update(prefect, SKYPILOT_DISABLE_USAGE_COLLECTION="1", HOME=folder)
        asyncio.run(main())
