"""Shared fixtures. `world` is a SkyPilot server: in memory, and with `-m e2e` the project's local one."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract import FakeWorld, LocalWorld, World

ROOT = Path(__file__).resolve().parent.parent


def pytest_xdist_auto_num_workers() -> int:
    """More processes than cores: the tests wait about as much as they compute, those of some flavours longer."""
    return (os.cpu_count() or 1) + int(os.environ.get("TEST_PROCESSES_BESIDE_CORES", "1"))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where none of the e2e tests is run, they are not read either: each process of the fast tests would take a second for it."""
    return True if collection_path == ROOT / "tests" / "e2e" and config.option.markexpr == "not e2e" else None


@pytest.fixture
def prefix() -> str:
    """The start of the names of this test's clusters."""
    return f"t{uuid.uuid4().hex[:6]}"


@pytest.fixture
def fake() -> FakeWorld:
    return FakeWorld()


@dataclass(frozen=True)
class LocalSkyPilot:
    endpoint: str
    slurm_conf: Path


@pytest.fixture(scope="session")
def local_skypilot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSkyPilot]:
    """The project's local SkyPilot: the one that is up, else one that is stopped again after the tests."""
    from local import lifecycle, place

    here = place.find_place(ROOT)
    memory = place.remember(here)
    was_up = memory is not None and lifecycle.is_up(here, memory)
    home = os.environ.get("HOME")
    try:
        endpoint = lifecycle.up(ROOT)
        # SkyPilot's SDK writes to the home folder; the caller's is not ours.
        os.environ.update(
            HOME=str(tmp_path_factory.mktemp("home")), SKYPILOT_API_SERVER_ENDPOINT=endpoint, SKYPILOT_DISABLE_LOCAL_API_SERVER="1"
        )
        yield LocalSkyPilot(endpoint, here.slurm_conf)
    finally:
        os.environ.pop("SKYPILOT_API_SERVER_ENDPOINT", None)
        if home is not None:
            os.environ["HOME"] = home
        if not was_up:
            lifecycle.stop(ROOT)


@pytest.fixture(params=["fake", pytest.param("local", marks=pytest.mark.e2e)])
async def world(request: pytest.FixtureRequest, prefix: str) -> AsyncIterator[World]:
    """The server the contract is held on. Nothing may be left on it when the test is over."""
    if request.param == "fake":
        here: World = FakeWorld()
    else:
        from sky_orchestrate.client import connect
        from sky_orchestrate.settings import load_settings

        skypilot: LocalSkyPilot = request.getfixturevalue("local_skypilot")
        here = LocalWorld(connect(load_settings({"SKY_ORCHESTRATE_INFRA": "local"}, root=ROOT)), skypilot.slurm_conf, prefix)
    yield here
    assert await here.left() == []
