"""The runner for callers that have no event loop."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from sky_orchestrate.errors import SkyJobFailed
from sky_orchestrate.result import TaskResult
from sky_orchestrate.runner import run_task_sync
from sky_orchestrate.task import TaskSpec
from tests.contract import Attempt, FakeWorld, attempt, task


def called(tries: Attempt, spec: TaskSpec) -> TaskResult:
    return run_task_sync(spec, tries.key, tries.options, client=tries.world.client(), on_log=tries.lines.append)


def test_a_caller_without_an_event_loop_gets_the_same_result(fake: FakeWorld) -> None:
    spec = task("""echo '::sky-output::{"accuracy": 0.97}'""")
    with_loop, without = (attempt(fake, "sync", run="run-1") for _ in range(2))
    awaited = asyncio.run(with_loop.run(spec))
    result = called(without, spec)
    assert result == replace(awaited, timings=result.timings)
    assert result.outputs == {"accuracy": 0.97}
    assert without.lines == with_loop.lines
    assert result.timings.torn_down is not None
    assert fake.server.left == []


def test_it_gets_the_same_error(fake: FakeWorld) -> None:
    with pytest.raises(SkyJobFailed) as failed:
        called(attempt(fake, "sync"), task("exit 3"))
    assert failed.value.exit_code == 3
    assert fake.server.left == []
