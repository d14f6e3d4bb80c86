"""`make demo`, whatever the orchestrator: a local SkyPilot, the pipeline on it for real, and a look from outside that nothing is left."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from local import lifecycle, slurm
from local.demo_screen import Screen
from local.place import LocalError, find_place
from sky_orchestrate.client import connect
from sky_orchestrate.errors import SkyOrchestrateError
from sky_orchestrate.settings import Settings, load_settings

LOCAL, LEFT = "local SkyPilot", "nothing left running"
STEPS = ("data_preprocessing", "train", "eval")


class DemoFailed(Exception):
    """One line that says what went wrong and what to do about it."""


@dataclass(frozen=True)
class Demo:
    """An orchestrator's part. `run_pipeline` starts it, tells the screen of its steps, and returns the run's page and its result.

    The result has `accuracy`, and `steps` as TaskResult's data by their names. `ui` is what `make ui` shows; {page} stands for the run.
    """

    orchestrator: str
    ui: str
    run_pipeline: Callable[[Screen], tuple[str, dict[str, Any]]]
    settings: Callable[[], None] = lambda: None

    def main(self) -> int:
        screen = Screen(Console(file=sys.stdout), (LOCAL, self.orchestrator, *STEPS, LEFT))
        try:
            # SkyPilot prints as it goes, and the screen is for what the jobs say.
            with screen, redirect_stdout(io.StringIO()):
                page, result = self._run(screen)
        except KeyboardInterrupt:
            screen.say("interrupted; clusters that still run go with: make local-down", style="bold red")
            return 130
        except (LocalError, SkyOrchestrateError, DemoFailed) as error:
            screen.say(f"error: {str(error).splitlines()[0]}", style="bold red")
            return 1
        self._conclude(screen, page, result)
        return 0

    def _run(self, screen: Screen) -> tuple[str, dict[str, Any]]:
        began = time.monotonic()
        screen.begin(LOCAL)
        endpoint = lifecycle.up()
        screen.end(LOCAL, f"at {endpoint}")
        settings = _use_local_skypilot()
        self.settings()
        screen.begin(self.orchestrator)
        page, result = self.run_pipeline(screen)
        asyncio.run(_assert_nothing_left(settings, [step["cluster_name"] for step in result["steps"].values()]))
        screen.end(LEFT, "neither SkyPilot nor Slurm knows of a cluster or a job of this run")
        screen.say(f"all that took {time.monotonic() - began:.0f} s", style="bold green")
        return page, result

    def _conclude(self, screen: Screen, page: str, result: dict[str, Any]) -> None:
        screen.table({name: result["steps"][name] for name in STEPS})
        screen.say(f"accuracy: {result['accuracy']:.4f}", style="bold")
        screen.say("\nTo go on:")
        go_on = (
            ("make ui", self.ui.format(page=page)),
            ("make test", "the fast tests"),
            ("cp .env.example .env && make run", "the pipeline on your own infra: .env says where"),
            ("make local-down", "stop the local SkyPilot and remove every file of it; until then the next demo starts warm"),
        )
        for command, what in go_on:
            screen.say(f"  {command:<34} {what}")


def step_told(screen: Screen, step: str, *, ended: bool) -> None:
    """A step has begun or ended; after the last one only clusters are waited for."""
    screen.begin(step)
    if ended:
        screen.end(step)
        if step == STEPS[-1]:
            screen.begin(LEFT)


def _use_local_skypilot() -> Settings:
    """For this process alone, whatever .env says."""
    os.environ["SKY_ORCHESTRATE_INFRA"] = "local"
    os.environ["DATA_BUCKET_URL"] = load_settings().local_bucket
    return load_settings()


async def _assert_nothing_left(settings: Settings, clusters: Sequence[str]) -> None:
    known = {cluster.name for cluster in await connect(settings).clusters(refresh=True)}
    queue = slurm.ask(find_place(settings.root), "squeue", "-h", "-o", "%j")
    left = [name for name in clusters if name in known or name.rsplit("-", 1)[1] in queue]
    if left:
        raise DemoFailed(
            f"still there: {', '.join(left)}; take it down with: {Path(sys.executable).name} -m sky_orchestrate down {' '.join(left)}"
        )
