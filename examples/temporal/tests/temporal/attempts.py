"""Attempts of single activities, on a SkyPilot in memory and without a Temporal server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from sky_orchestrate.settings import Settings
from temporal.activities import Beats, SkyActivities
from temporal.messages import SkyDownCommand, SkyJob, SkyLaunchCommand
from tests.contract import FAST
from tests.fake_sky import FakeServer, FakeSky

TALKING = """name: train
run: |
  echo one
  echo '::sky-output::{"step": 1}'
  sleep 20
  echo two
  sleep 20
  echo three
"""
SLOW = "name: train\nrun: sleep 1000\n"
NAME = "proj-train-1"
QUICK = Beats(launch=0.02, wait=0.02)


async def no_state(_: str) -> None:
    return None


@dataclass
class Attempt:
    """One attempt of an activity, with the heartbeats that it sends."""

    environment: ActivityEnvironment = field(default_factory=ActivityEnvironment)
    beats: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.environment.on_heartbeat = lambda *told: self.beats.extend(told)

    def begin(self, activity: Callable[[Any], Awaitable[Any]], command: Any, *, after: list[Any] | None = None) -> asyncio.Future[Any]:
        """Run it in the background. `after` are the details of the last attempt's heartbeat, as the server keeps them."""
        converter = DataConverter.default.payload_converter
        details = converter.from_payloads(converter.to_payloads(after or []))
        self.environment.info = replace(self.environment.info, heartbeat_details=details, workflow_run_id="run-1")
        return asyncio.ensure_future(self.environment.run(activity, command))


@dataclass(frozen=True)
class Bench:
    """The activities of one worker, on a SkyPilot in memory."""

    sky: FakeServer
    activities: SkyActivities

    async def launched(self, yaml: str = TALKING) -> SkyJob:
        return await Attempt().begin(self.activities.run_sky_launch, SkyLaunchCommand(NAME, yaml))

    async def down(self) -> None:
        await Attempt().begin(self.activities.run_sky_down, SkyDownCommand(NAME))


def bench_of(sky: FakeServer, project: Path, client: Callable[[], FakeSky] | None = None, **variables: str) -> Bench:
    settings = Settings(root=project, slug="proj", owner="proj", variables=variables)
    made = client or sky.client
    return Bench(sky, SkyActivities(settings, no_state, connect=lambda _: made(), pace=FAST, beats=QUICK))


async def error_of(attempt: Awaitable[Any]) -> ApplicationError:
    with pytest.raises(ApplicationError) as told:
        await attempt
    assert len(told.value.message.splitlines()) == 1
    return told.value


async def cancelled(attempt: Attempt, running: asyncio.Future[Any]) -> None:
    attempt.environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
