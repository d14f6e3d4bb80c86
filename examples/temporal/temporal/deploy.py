"""`make deploy`: the reaper on its schedule, and how workers are run. Again after a change, this updates what is there."""

from __future__ import annotations

import asyncio
import sys

from sky_orchestrate.errors import SkyOrchestrateError
from sky_orchestrate.settings import load_settings
from temporal.connection import connect_temporal, leave, refusals_told
from temporal.reaper import EVERY, schedule_reaper
from temporal.worker_settings import worker_settings


async def deploy() -> None:
    settings = load_settings()
    client = await connect_temporal(settings)
    with refusals_told():
        name = await schedule_reaper(client, settings.slug, task_queue=worker_settings(settings).task_queue)
    print(f"the reaper runs every {EVERY.total_seconds() / 60:.0f} minutes, by the schedule {name}")
    print("workers run it and the pipelines: python run_worker.py")


def main() -> int:
    try:
        asyncio.run(deploy())
    except SkyOrchestrateError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    leave(main())
