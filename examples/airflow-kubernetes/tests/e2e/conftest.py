"""The session of the e2e tests: one local SkyPilot, one orchestrator, one worker. All processes end with it, after Ctrl-C too."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, LocalSkyPilot
from tests.e2e.cloud import Cloud
from tests.e2e.jobs import Job
from tests.e2e.orchestra import Orchestra, Run, prepare, serve
from tests.e2e.processes import PATIENCE, Household, keep_house

_DEADLINE = 420


@pytest.fixture(scope="session")
def household(local_skypilot: LocalSkyPilot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    with keep_house(ROOT, tmp_path_factory.mktemp("e2e"), SKY_ORCHESTRATE_INFRA="local") as household:
        yield household


@pytest.fixture(scope="session", autouse=True)
def prepared() -> Any:
    """Before the home folder is another one."""
    return prepare()


@pytest.fixture(scope="session")
def served(prepared: Any, household: Household) -> Iterator[Orchestra]:
    yield from serve(household, prepared)


@pytest.fixture
def orchestra(served: Orchestra) -> Iterator[Orchestra]:
    """The orchestrator with a worker, and no run in hand."""
    served.runs.clear()
    served.keep_a_worker()
    yield served
    unfinished = [run for run in served.runs if not run.over]
    if unfinished:
        served.keep_a_worker()
    for run in unfinished:
        run.cancel()
    for run in unfinished:
        run.verdict(within=90)


@pytest.fixture
def cloud(local_skypilot: LocalSkyPilot) -> Cloud:
    return Cloud(local_skypilot.endpoint, local_skypilot.slurm_conf)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


@pytest.fixture
def run_step(orchestra: Orchestra) -> Callable[..., Run]:
    """Start a run of one step through the orchestrator's server; a worker takes it."""

    def start(job: Job, **arguments: Any) -> Run:
        return orchestra.step(job.yaml, **arguments)

    return start


@pytest.fixture(autouse=True)
def deadline(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test outlives its time: a marker `deadline(seconds)`, else seven minutes."""

    def over(*_: object) -> None:
        raise TimeoutError(f"the test took longer than {seconds:g} s")

    marker = request.node.get_closest_marker("deadline")
    seconds = (marker.args[0] if marker else _DEADLINE) * PATIENCE
    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that failed shows what its runs logged."""
    report = yield
    orchestra = getattr(item, "funcargs", {}).get("orchestra")
    if report.when == "call" and report.failed and orchestra is not None:
        for run in orchestra.runs:
            try:
                report.sections.append((f"run {run.id}", "\n".join(run.logs)))
            except Exception as error:
                report.sections.append((f"run {run.id}", f"not to be read: {error}"))
    return report
