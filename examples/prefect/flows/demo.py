"""`make demo`: a local SkyPilot, the pipeline on it for real, and a look from outside that nothing is left running."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from flows.demo_screen import Screen
from local import lifecycle, slurm
from local.place import LocalError, find_place
from sky_orchestrate.client import connect
from sky_orchestrate.errors import SkyOrchestrateError
from sky_orchestrate.settings import Settings, load_settings

LOCAL, PREFECT, LEFT = "local SkyPilot", "Prefect", "nothing left running"
STEPS = ("data_preprocessing", "train", "eval")
GO_ON = (
    ("make ui", "Prefect's web page; this run is at {page}"),
    ("make test", "the fast tests"),
    ("cp .env.example .env && make run", "the pipeline on your own infra: .env says where"),
    ("make local-down", "stop the local SkyPilot and remove every file of it; until then the next demo starts warm"),
)


class DemoFailed(Exception):
    """One line that says what went wrong and what to do about it."""


def main() -> int:
    screen = Screen(Console(), (LOCAL, PREFECT, *STEPS, LEFT))
    try:
        with screen:
            page, result = _demo(screen)
    except KeyboardInterrupt:
        screen.say("interrupted; clusters that still run go with: make local-down", style="bold red")
        return 130
    except (LocalError, SkyOrchestrateError, DemoFailed) as error:
        screen.say(f"error: {str(error).splitlines()[0]}", style="bold red")
        return 1
    _conclude(screen, page, result)
    return 0


def _demo(screen: Screen) -> tuple[str, dict[str, Any]]:
    began = time.monotonic()
    screen.begin(LOCAL)
    endpoint = lifecycle.up()
    screen.end(LOCAL, f"at {endpoint}")
    settings = _use_local_skypilot()
    page, result = _run_pipeline(screen)
    asyncio.run(_assert_nothing_left(settings, [step["cluster_name"] for step in result["steps"].values()]))
    screen.end(LEFT, "neither SkyPilot nor Slurm knows of a cluster or a job of this run")
    screen.say(f"all that took {time.monotonic() - began:.0f} s", style="bold green")
    return page, result


def _use_local_skypilot() -> Settings:
    """For this process alone, whatever .env says."""
    os.environ["SKY_ORCHESTRATE_INFRA"] = "local"
    settings = load_settings()
    os.environ["DATA_BUCKET_URL"] = settings.local_bucket
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    # The screen shows what Prefect's own console would.
    os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
    return load_settings()


def _run_pipeline(screen: Screen) -> tuple[str, dict[str, Any]]:
    screen.begin(PREFECT)
    # Prefect reads its settings as it is imported.
    from prefect.settings import PREFECT_UI_URL

    from flows.sky_train_flow import sky_train_workflow

    _log_to(screen)
    try:
        state: Any = asyncio.run(sky_train_workflow(return_state=True))  # pyright: ignore[reportArgumentType, reportCallIssue]  # Prefect's types know no async flow here
    except RuntimeError as error:
        raise DemoFailed(f"Prefect did not start: {error}; is its folder writable, and PREFECT_API_URL right where it is set?") from error
    page = f"{PREFECT_UI_URL.value() or 'http://127.0.0.1:4200'}/runs/flow-run/{state.state_details.flow_run_id}"
    if not state.is_completed():
        raise DemoFailed(f"the flow run ended {state.name}: {state.message}; its log is above, and with `make ui` at {page}")
    return page, asyncio.run(state.aresult())


def _log_to(screen: Screen) -> None:
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addHandler(_Records(screen))


class _Records(logging.Handler):
    """A step begins with its first record and ends with Prefect's own word on its state; then only clusters are waited for."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(logging.INFO)
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        step, message = str(getattr(record, "task_run_name", "")), record.getMessage()
        self._screen.end(PREFECT)
        if step in STEPS:
            self._screen.begin(step)
            if message.startswith("Finished in state"):
                self._screen.end(step)
                if step == STEPS[-1]:
                    self._screen.begin(LEFT)
                return
        self._screen.line(step, message)


async def _assert_nothing_left(settings: Settings, clusters: list[str]) -> None:
    known = {cluster.name for cluster in await connect(settings).clusters(refresh=True)}
    queue = slurm.ask(find_place(settings.root), "squeue", "-h", "-o", "%j")
    left = [name for name in clusters if name in known or name.rsplit("-", 1)[1] in queue]
    if left:
        raise DemoFailed(
            f"still there: {', '.join(left)}; take it down with: {Path(sys.executable).name} -m sky_orchestrate down {' '.join(left)}"
        )


def _conclude(screen: Screen, page: str, result: dict[str, Any]) -> None:
    screen.table(result["steps"])
    screen.say(f"accuracy: {result['accuracy']:.4f}", style="bold")
    screen.say("\nTo go on:")
    for command, what in GO_ON:
        screen.say(f"  {command:<34} {what.format(page=page)}")


if __name__ == "__main__":
    sys.exit(main())
