"""`make deploy`: the work pool, the deployments of prefect.yaml, and the automation that calls silent runs Crashed.

A run whose process was killed says nothing more, and without that would be Running forever: its clusters are the reaper's only once the
run is over. Again after a change, this updates what is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from prefect.automations import Automation
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import get_current_settings

from sky_orchestrate.errors import SkyOrchestrateError
from sky_orchestrate.settings import load_settings

# prefect.yaml sets the heartbeat's frequency, of which 30 s is the shortest; three in a row are missed.
_SILENCE = timedelta(seconds=90)
_HEARTBEAT = "prefect.flow-run.heartbeat"
_NO_MORE_HEARTBEATS = ("Completed", "Failed", "Cancelled", "Crashed", "AwaitingRetry", "Scheduled", "Paused", "Suspended")


def crash_silent_runs(slug: str) -> Automation:
    """Of this project's deployments alone: they carry its slug as tag."""
    return Automation(
        name=f"{slug}: silent runs are Crashed",
        description="A flow run whose heartbeats stop without an end: its process was killed or its machine lost.",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            after={_HEARTBEAT},
            expect={_HEARTBEAT, *(f"prefect.flow-run.{state}" for state in _NO_MORE_HEARTBEATS)},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            match_related=ResourceSpecification({"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{slug}"}),
            for_each={"prefect.resource.id"},
            threshold=1,
            within=_SILENCE,
        ),
        actions=[
            ChangeFlowRunState(
                name="Crashed",
                state=StateType.CRASHED,
                message="The run's heartbeats stopped: its process was killed or lost.",
                force=False,
            )
        ],
    )


async def deploy(worker_dir: Path | None = None) -> None:
    """Deploy for workers that have the project in `worker_dir`, by default where it is here."""
    settings = load_settings()
    slug = settings.slug
    api = get_current_settings().api.url
    if not api:
        raise SystemExit(
            "deploying needs a Prefect server that stays up: run `make ui` in another terminal, and set PREFECT_API_URL in .env"
        )
    async with get_client() as client:
        error = await client.api_healthcheck()
        if error is not None:
            raise SystemExit(
                f"Prefect at {api} does not answer ({type(error).__name__}): start it with `make ui`, or correct PREFECT_API_URL"
            )
        with contextlib.suppress(ObjectAlreadyExists):
            await client.create_work_pool(WorkPoolCreate(name=slug, type="process"))
    names = {"SKY_SLUG": slug, "SKY_WORKER_DIR": str(worker_dir or settings.root)}
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    await asyncio.to_thread(subprocess.run, command, cwd=settings.root, env={**os.environ, **names}, check=True)
    await renew(crash_silent_runs(slug))
    print(f"\nA worker runs them: prefect worker start --pool {slug}")


async def renew(automation: Automation) -> None:
    try:
        there = await Automation.aread(name=automation.name)
    except ValueError:
        await automation.acreate()
        return
    automation.id = there.id
    await automation.aupdate()


if __name__ == "__main__":
    try:
        asyncio.run(deploy(Path(os.environ["SKY_WORKER_DIR"]) if "SKY_WORKER_DIR" in os.environ else None))
    except SkyOrchestrateError as error:
        raise SystemExit(str(error)) from None
    except subprocess.CalledProcessError:
        raise SystemExit("`prefect deploy` failed: what it said stands above") from None
