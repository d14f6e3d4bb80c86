"""Workflows replay the histories of yesterday's code: a change that cannot would end runs that are under way.

Where one of these fails, put the change behind `workflow.patched`, or end the runs and record the histories anew (record.py).
"""

from __future__ import annotations

import base64
import json
import re
import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from temporal.activities import SkyActivities
from temporal.messages import SkyDownCommand, SkyPilotWorkflowInput, SkyPilotWorkflowResult
from temporal.worker import WORKFLOWS
from temporal.workflows import SkyPilotWorkflow
from tests.temporal.record import HISTORIES, KINDS


def history(kind: str) -> WorkflowHistory:
    return WorkflowHistory.from_json(f"pipeline-{kind}", (HISTORIES / f"{kind}.json").read_text(encoding="utf-8"))


@workflow.defn(name="SkyPilotWorkflow", sandboxed=False)
class Reordered(SkyPilotWorkflow):
    """The pipeline with a teardown before its first step."""

    @workflow.run
    async def run(self, given: SkyPilotWorkflowInput) -> SkyPilotWorkflowResult:
        await workflow.execute_activity_method(
            SkyActivities.run_sky_down, SkyDownCommand("proj-train-1"), start_to_close_timeout=timedelta(minutes=1)
        )
        return await super().run(given)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_recorded_run_replays(kind: str) -> None:
    await Replayer(workflows=WORKFLOWS).replay_workflow(history(kind))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_change_of_the_order_of_steps_does_not(kind: str) -> None:
    with pytest.raises(NondeterminismError):
        await Replayer(workflows=[Reordered]).replay_workflow(history(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_recorded_history_holds_nothing_of_the_machine_it_was_recorded_on(kind: str) -> None:
    text = (HISTORIES / f"{kind}.json").read_text(encoding="utf-8")
    told = "\n".join(strings(json.loads(text)))
    assert not re.search(r"(^|[^\w.:/])/(tmp|home|root|work|Users|usr|opt)\b", told)
    assert socket.gethostname() not in told
    assert "stackTrace" not in text


def strings(value: Any) -> Iterator[str]:
    """All texts in it; data of payloads as what it stands for."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield base64.b64decode(part).decode(errors="replace") if name == "data" and isinstance(part, str) else ""
            yield from strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from strings(part)
    elif isinstance(value, str):
        yield value
