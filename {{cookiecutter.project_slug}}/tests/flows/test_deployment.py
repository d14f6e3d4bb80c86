"""What `make deploy` sends to Prefect: the flows of prefect.yaml, and the automation that calls silent runs Crashed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.automations import Automation
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.flows import load_flow_from_entrypoint

from flows.cancellation import take_down_rest
from flows.deploy import crash_silent_runs, renew

ROOT = Path(__file__).resolve().parents[2]
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["entrypoint"].split(":")[1])
def test_each_entrypoint_is_a_scheduled_flow_in_the_projects_own_pool(deployment: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    flow = load_flow_from_entrypoint(deployment["entrypoint"])
    assert set(deployment["parameters"]) <= set(flow.parameters.properties)
    assert deployment["schedules"]
    assert deployment["work_pool"]["name"] == deployment["name"] == deployment["tags"][0] == "{{ $SKY_SLUG }}"
    assert deployment["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"


def test_the_pipeline_and_the_reaper_are_deployed_and_the_reaper_runs_once_at_a_time() -> None:
    found = {deployment["entrypoint"].split(":")[1]: deployment for deployment in DEPLOYMENTS}
    assert set(found) == {"sky_train_workflow", "sky_reaper"}
    assert found["sky_reaper"]["concurrency_limit"]["limit"] == 1


def test_a_cancelled_pipeline_is_looked_after_by_the_hook() -> None:
    flow = load_flow_from_entrypoint(f"{ROOT}/flows/sky_train_flow.py:sky_train_workflow")
    assert [hook.__name__ for hook in flow.on_cancellation_hooks] == [take_down_rest.__name__]


def test_silence_for_three_heartbeats_is_a_crash_of_this_projects_runs_alone() -> None:
    trigger = crash_silent_runs("proj").trigger
    assert isinstance(trigger, EventTrigger)
    assert trigger.posture == Posture.Proactive
    assert trigger.within == timedelta(seconds=90)
    assert trigger.for_each == {"prefect.resource.id"}
    assert {"prefect.flow-run.heartbeat", "prefect.flow-run.Completed", "prefect.flow-run.AwaitingRetry"} <= trigger.expect
    assert "prefect.tag.proj" in str(trigger.match_related)


async def test_deploying_again_renews_the_automation() -> None:
    for _ in range(2):
        await renew(crash_silent_runs("proj"))
    found = await Automation.aread(name="proj: silent runs are Crashed")
    await found.adelete()
    with pytest.raises(ValueError, match="not found"):
        await Automation.aread(name=found.name)
