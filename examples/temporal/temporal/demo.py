"""`make demo`: the pipeline as a Temporal workflow on the local SkyPilot, with a development server and a worker of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import uuid
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowFailureError

from local.demo import STEPS, Demo, DemoFailed, step_told
from local.demo_screen import Screen
from sky_orchestrate.settings import Settings, load_settings
from temporal.activities import SkyActivities
from temporal.connection import connect_temporal
from temporal.dev_server import PORT, UI_PORT, find_temporal, listens, serving, start_dev
from temporal.following import RunFailed, follow
from temporal.messages import PipelineStatus, SkyPilotWorkflowInput
from temporal.run_state import run_states_of
from temporal.worker import make_worker
from temporal.worker_settings import WorkerSettings
from temporal.workflows import SkyPilotWorkflow

TEMPORAL = "Temporal"


def settle() -> None:
    """Another Temporal of the caller's is none of the demo's business."""
    for name in [name for name in os.environ if name.startswith("TEMPORAL_")]:
        del os.environ[name]
    os.environ["TEMPORAL_ADDRESS"] = f"127.0.0.1:{PORT}"


def run_pipeline(screen: Screen) -> tuple[str, dict[str, Any]]:
    settings = load_settings()
    own = {name: value for name, value in settings.variables.items() if not name.startswith("TEMPORAL_")}
    with _server(settings.root / ".temporal"):
        return asyncio.run(_pipeline(screen, replace(settings, variables=own)))


async def _pipeline(screen: Screen, settings: Settings) -> tuple[str, dict[str, Any]]:
    client = await connect_temporal(settings)
    log = _Lines(screen)
    logger = logging.getLogger("temporal.activities")
    logger.addHandler(log)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logging.getLogger("temporalio").setLevel(logging.WARNING)
    queue = f"demo-{uuid.uuid4().hex[:8]}"
    async with make_worker(client, SkyActivities(settings, run_states_of(client)), WorkerSettings(task_queue=queue)):
        handle = await client.start_workflow(SkyPilotWorkflow.run, SkyPilotWorkflowInput(), id=f"sky-{queue}", task_queue=queue)
        screen.end(TEMPORAL, handle.id)
        page = f"http://127.0.0.1:{UI_PORT}/namespaces/{client.namespace}/workflows/{handle.id}/{handle.first_execution_run_id}/history"
        try:
            result = await follow(handle, _Story(screen, log).tell, every=0.5)
        except asyncio.CancelledError:
            # Ctrl-C: nobody serves the demo's queue after it.
            screen.say("cancelling the run; its clusters go down")
            await handle.cancel()
            with contextlib.suppress(WorkflowFailureError):
                await handle.result()
            raise
        except RunFailed as error:
            raise DemoFailed(f"{error}; its log is above, and with `make ui` at {page}") from error
    return page, asdict(result)


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[None]:
    """A development server of this demo's, unless `make ui` serves here already. Both keep their histories in the same file."""
    if listens(PORT):
        yield
        return
    with serving(start_dev(find_temporal(), folder, port=PORT, ui_port=UI_PORT), PORT):
        yield


class _Lines(logging.Handler):
    """The activities' log, under the step that runs."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(logging.INFO)
        self._screen = screen
        self.step = ""

    def emit(self, record: logging.LogRecord) -> None:
        # The workflow's id comes first; here there is but one.
        self._screen.line(self.step, record.getMessage().partition(": ")[2])


class _Story:
    """The steps' beginnings and ends, from the workflow's own status."""

    def __init__(self, screen: Screen, log: _Lines) -> None:
        self._screen, self._log = screen, log

    def tell(self, status: PipelineStatus) -> None:
        for name in STEPS:
            if name in status.finished:
                step_told(self._screen, name, ended=True)
        if status.step in STEPS and status.step not in status.finished:
            self._log.step = status.step
            step_told(self._screen, status.step, ended=False)


if __name__ == "__main__":
    sys.exit(Demo(TEMPORAL, "Temporal's web page; this run is at {page}", run_pipeline, settle).main())
