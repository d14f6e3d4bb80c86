"""`make demo`: the pipeline as a Prefect flow on the local SkyPilot, in this process."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import Any

from local.demo import STEPS, Demo, DemoFailed, step_told
from local.demo_screen import Screen

PREFECT = "Prefect"


def settle() -> None:
    """Before Prefect is imported, which reads its settings then."""
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    # The screen shows what Prefect's own console would.
    os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"


def run_pipeline(screen: Screen) -> tuple[str, dict[str, Any]]:
    from prefect.settings import PREFECT_UI_URL

    from flows.sky_train_flow import sky_train_workflow

    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addHandler(_Records(screen))
    try:
        state: Any = asyncio.run(sky_train_workflow(return_state=True))  # pyright: ignore[reportArgumentType, reportCallIssue]  # Prefect's types know no async flow here
    except RuntimeError as error:
        raise DemoFailed(f"Prefect did not start: {error}; is its folder writable, and PREFECT_API_URL right where it is set?") from error
    page = f"{PREFECT_UI_URL.value() or 'http://127.0.0.1:4200'}/runs/flow-run/{state.state_details.flow_run_id}"
    if not state.is_completed():
        raise DemoFailed(f"the flow run ended {state.name}: {state.message}; its log is above, and with `make ui` at {page}")
    return page, asyncio.run(state.aresult())


class _Records(logging.Handler):
    """A step begins with its first record and ends with Prefect's own word on its state."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(logging.INFO)
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        step, message = str(getattr(record, "task_run_name", "")), record.getMessage()
        self._screen.end(PREFECT)
        ended = message.startswith("Finished in state")
        if step in STEPS:
            step_told(self._screen, step, ended=ended)
        if step not in STEPS or not ended or step != STEPS[-1]:
            self._screen.line(step, message)


if __name__ == "__main__":
    sys.exit(Demo(PREFECT, "Prefect's web page; this run is at {page}", run_pipeline, settle).main())
