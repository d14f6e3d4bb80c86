"""Records the histories that test_replay.py replays: python -m tests.temporal.record

They are real runs on Temporal's development server and a SkyPilot in memory, by a client without the name of a host. What a recorded
history holds of the machine (stack traces) is left out. Record anew only where a change of the workflows is meant to end what runs.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

from temporal.workflows import SkyPilotWorkflow
from tests.fake_sky import FakeServer, Speed
from tests.temporal.conftest import make_project, make_site, pipeline, running, until, write_task
from tests.temporal.dev_server import dev_server

HISTORIES = Path(__file__).parent / "histories"
KINDS = ("success", "failure", "cancel")


async def recorded(kind: str, address: str, folder: Path) -> dict[str, Any]:
    """The history of a run that ends as `kind` says."""
    sky, project = FakeServer(Speed()), make_project(folder / kind)
    if kind == "failure":
        write_task(project, "train", "echo the disk is full\nexit 3")
    if kind == "cancel":
        write_task(project, "train", "sleep 1000")
    client = await Client.connect(address, identity="recorder")
    site = replace(make_site(client, sky, project), task_queue="recorded")
    async with site.working():
        handle = await site.start(SkyPilotWorkflow.run, pipeline(attempts=2), id=f"pipeline-{kind}")
        if kind == "cancel":
            await until(lambda: running(sky, "train"))
            await handle.cancel()
        await _ended(handle)
        return without_stack_traces(json.loads((await handle.fetch_history()).to_json()))


async def _ended(handle: WorkflowHandle[Any, Any]) -> None:
    try:
        await handle.result()
    except WorkflowFailureError as error:
        print(f"{handle.id}: {error.cause}")


def without_stack_traces(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_stack_traces(part) for name, part in value.items() if name != "stackTrace"}
    return [without_stack_traces(part) for part in value] if isinstance(value, list) else value


def main() -> int:
    HISTORIES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, dev_server() as address:
        for kind in KINDS:
            history = asyncio.run(recorded(kind, address, Path(name)))
            (HISTORIES / f"{kind}.json").write_text(json.dumps(history, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
