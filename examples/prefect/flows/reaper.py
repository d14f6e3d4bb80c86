"""The reaper, on Prefect's schedule: takes down clusters whose run ended or was lost, and tells so in a table artifact."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_table_artifact

from flows.inputs import settings_for
from flows.portal import portal
from flows.run_state import run_state
from sky_orchestrate.reaper import reap


@flow(name="sky_reaper")
async def sky_reaper(api_server_endpoint: str | None = None, *, dry_run: bool = False) -> list[dict[str, str]]:
    """Look at every cluster of this project, and take down those whose flow run has been over for SKY_ORCHESTRATE_REAPER_GRACE seconds.

    Fails where one could not be shown to be gone.
    """
    logger = get_run_logger()
    settings = await settings_for(api_server_endpoint)
    client = portal().client(settings)
    reaped = await portal().run(
        reap(client, owner=settings.owner, run_state=run_state, grace=settings.reaper_grace, dry_run=dry_run, pace=portal().pace)
    )
    for one in reaped:
        logger.info(f"{one.cluster}: {one.action}: {one.reason}")
    table = [asdict(one) for one in reaped]
    if any(one.action != "left" for one in reaped):
        await acreate_table_artifact(table=table, key="reaped", description="What the reaper did with this project's clusters")
    failed = [one.cluster for one in reaped if one.action == "failed"]
    if failed:
        raise RuntimeError(f"could not be shown to be gone, and may cost money: {', '.join(failed)}")
    return table


if __name__ == "__main__":
    asyncio.run(sky_reaper())
