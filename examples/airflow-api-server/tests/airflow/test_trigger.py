"""The trigger: launches, waits and tells, whatever becomes of the triggerer, and takes the cluster down for the user alone."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import SetXCom
from airflow.sdk.serde import deserialize, serialize
from airflow.triggers.base import DiscrimatedTriggerEvent, TaskSuccessEvent, TriggerEvent
from pydantic import TypeAdapter

from sky_orchestrate.airflow.hook import SkyHook
from sky_orchestrate.airflow.trigger import SkyTaskTrigger
from tests.airflow.conftest import Sky, own_cluster, request

CLUSTER = own_cluster("train", "manual__2026-11-25T10:00:00+00:00")


@pytest.fixture(autouse=True)
def no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trigger alone has no Airflow to ask: the project's settings hold."""

    def missing(conn_id: str) -> Any:
        raise AirflowNotFoundException(conn_id)

    monkeypatch.setattr(SkyHook, "get_connection", staticmethod(missing))


@dataclass
class Triggerer:
    """What a trigger has of the process around it: its task, and the way to XCom."""

    refuses: bool = False
    xcoms: dict[str, Any] = field(default_factory=dict)

    def given(self, trigger: SkyTaskTrigger) -> SkyTaskTrigger:
        task: Any = SimpleNamespace(dag_id="pipeline", task_id="train", run_id="manual", map_index=-1)
        trigger.task_instance = task
        return trigger

    async def asend(self, message: SetXCom) -> None:
        if self.refuses:
            raise ConnectionError("the API server is not there")
        assert (message.dag_id, message.task_id, message.run_id, message.map_index) == ("pipeline", "train", "manual", -1)
        self.xcoms[message.key] = message.value


@pytest.fixture
def triggerer(monkeypatch: pytest.MonkeyPatch) -> Triggerer:
    around = Triggerer()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", around, raising=False)
    return around


async def verdict_of(trigger: SkyTaskTrigger) -> dict[str, Any]:
    return (await event_of(trigger)).payload


async def event_of(trigger: SkyTaskTrigger) -> TriggerEvent:
    async for event in trigger.run():
        return event
    raise AssertionError("the trigger fired nothing")


async def cancelled(trigger: SkyTaskTrigger, sky: Sky) -> None:
    """As the triggerer does, for its own end and for the user's: the wait is cancelled."""
    waiting = asyncio.ensure_future(verdict_of(trigger))
    await sky.until_running(CLUSTER)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()


async def test_rule_01_a_trigger_survives_its_way_through_the_database_and_launches_one_job(sky: Sky) -> None:
    kind, kwargs = SkyTaskTrigger(**request("echo done")).serialize()
    assert kind == "sky_orchestrate.airflow.trigger.SkyTaskTrigger"
    stored: Any = deserialize(json.loads(json.dumps(serialize(kwargs))))
    again = SkyTaskTrigger(**stored)
    told = await verdict_of(again)
    assert json.loads(json.dumps(told)) == told
    assert told["result"]["status"] == "SUCCEEDED"
    assert told["tear_down"] == told["result"]["cluster_name"] == CLUSTER
    assert sky.server.submissions == [CLUSTER]


async def test_a_success_whose_cluster_stays_ends_its_task_where_it_was_waited_for(sky: Sky, triggerer: Triggerer) -> None:
    event = await event_of(triggerer.given(SkyTaskTrigger(**request(cluster_name="shared"), ends_task=True)))
    sent = TypeAdapter(DiscrimatedTriggerEvent).validate_json(event.model_dump_json())
    assert isinstance(sent, TaskSuccessEvent)
    result = triggerer.xcoms["return_value"]
    assert (result["status"], result["cluster_name"], result["timings"]["torn_down"]) == ("SUCCEEDED", "shared", None)
    assert sky.server.left == ["shared"]


async def test_a_success_in_xcom_stands_beside_the_clusters_name_where_that_is_returned(sky: Sky, triggerer: Triggerer) -> None:
    event = await event_of(triggerer.given(SkyTaskTrigger(**request(cluster_name="shared"), ends_task=True, result_key="sky_result")))
    assert isinstance(event, TaskSuccessEvent)
    assert triggerer.xcoms["return_value"] == "shared"
    assert triggerer.xcoms["sky_result"]["status"] == "SUCCEEDED"
    assert sky.server.left == ["shared"]


async def test_a_worker_concludes_where_the_triggerer_cannot_leave_the_result(sky: Sky, triggerer: Triggerer) -> None:
    triggerer.refuses = True
    event = await event_of(triggerer.given(SkyTaskTrigger(**request(cluster_name="shared"), ends_task=True)))
    assert not isinstance(event, TaskSuccessEvent)
    assert event.payload["result"]["status"] == "SUCCEEDED"
    assert len(sky.server.submissions) == 1


@pytest.mark.parametrize(
    ("run", "cluster"),
    [
        pytest.param("exit 3", "shared", id="a failure, for its retries"),
        pytest.param("echo done", None, id="a cluster of its own, to take down"),
    ],
)
async def test_what_a_worker_has_to_conclude_goes_back_to_one(sky: Sky, triggerer: Triggerer, run: str, cluster: str | None) -> None:
    event = await event_of(triggerer.given(SkyTaskTrigger(**request(run, cluster_name=cluster), ends_task=True)))
    assert not isinstance(event, TaskSuccessEvent)
    assert (event.payload["result"] is None) == (run == "exit 3")
    assert triggerer.xcoms == {}
    assert len(sky.server.submissions) == 1


async def test_rule_02_a_failed_job_is_told_with_its_exit_code_and_last_lines(sky: Sky) -> None:
    told = await verdict_of(SkyTaskTrigger(**request("echo the disk is full\n  exit 3")))
    assert told["result"] is None
    assert "exit code 3" in told["error"]
    assert "the disk is full" in told["error"]
    assert told["retryable"]
    assert told["tear_down"] == CLUSTER


async def test_rule_05_a_triggerer_that_restarts_takes_nothing_down_and_the_next_one_attaches(sky: Sky) -> None:
    first = SkyTaskTrigger(**request("sleep 20\n  echo done"))
    await cancelled(first, sky)
    await first.cleanup()
    assert sky.server.left == [CLUSTER]
    told = await verdict_of(SkyTaskTrigger(**request("sleep 20\n  echo done")))
    assert told["result"]["job_id"] == 1
    assert sky.server.submissions == [CLUSTER]


async def test_rule_06_the_users_cancel_of_a_deferred_task_takes_the_cluster_down(sky: Sky) -> None:
    trigger = SkyTaskTrigger(**request("sleep 1000"))
    await cancelled(trigger, sky)
    await trigger.on_kill()
    assert sky.server.left == []


async def test_rule_06_a_cancel_in_the_middle_of_a_launch_leaves_nothing(sky: Sky) -> None:
    trigger = SkyTaskTrigger(**request("sleep 1000"))
    waiting = asyncio.ensure_future(verdict_of(trigger))
    while not sky.server.left:
        await asyncio.sleep(0.001)
    waiting.cancel()
    await asyncio.wait([waiting])
    await trigger.on_kill()
    assert sky.server.left == []


async def test_rule_06_a_teardown_that_outlasts_airflows_patience_is_carried_through(sky: Sky) -> None:
    sky.server.speed = type(sky.server.speed)(down=0.2)
    trigger = SkyTaskTrigger(**request("sleep 1000"))
    await cancelled(trigger, sky)
    killing = asyncio.ensure_future(trigger.on_kill())
    await asyncio.sleep(0.05)
    killing.cancel()
    await asyncio.wait([killing])
    assert sky.server.left == []


async def test_rule_06_a_trigger_cancelled_before_it_had_asked_anything_takes_down_what_an_earlier_one_launched(sky: Sky) -> None:
    await cancelled(SkyTaskTrigger(**request("sleep 1000")), sky)
    await SkyTaskTrigger(**request("sleep 1000")).on_kill()
    assert sky.server.left == []


async def test_rule_06_a_triggerer_that_cancels_again_and_again_does_not_keep_a_late_trigger_from_asking(
    sky: Sky, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cancelled(SkyTaskTrigger(**request("sleep 1000")), sky)
    settings = SkyHook.settings

    def slowly(hook: SkyHook) -> Any:
        time.sleep(0.2)
        return settings(hook)

    monkeypatch.setattr(SkyHook, "settings", slowly)
    killing = asyncio.ensure_future(SkyTaskTrigger(**request("sleep 1000")).on_kill())
    for _ in range(3):
        await asyncio.sleep(0.03)
        killing.cancel()
    await asyncio.wait([killing])
    assert sky.server.left == []


async def test_rule_01_a_task_cleared_while_it_waits_does_not_attach_to_the_cluster_that_goes_down(sky: Sky) -> None:
    first = SkyTaskTrigger(**request("sleep 20\n  echo done"))
    await cancelled(first, sky)
    killing = asyncio.ensure_future(first.on_kill())
    told = await verdict_of(SkyTaskTrigger(**request("sleep 20\n  echo done")))
    await killing
    assert told["result"]["status"] == "SUCCEEDED"
    assert sky.server.submissions == [CLUSTER, CLUSTER]
    assert sky.server.left == [CLUSTER]


async def test_rule_07_the_tasks_own_deadline_holds_while_it_is_deferred_and_over_a_restart(sky: Sky) -> None:
    await cancelled(SkyTaskTrigger(**request("sleep 1000", deadline=time.time() + 3600)), sky)
    told = await verdict_of(SkyTaskTrigger(**request("sleep 1000", deadline=time.time() + 0.2)))
    assert told["timed_out"]
    assert told["tear_down"] == CLUSTER
    assert "execution_timeout" in told["error"]


@pytest.mark.parametrize(
    ("limit", "said"),
    [pytest.param("run_timeout", "ran longer", id="run"), pytest.param("provision_timeout", CLUSTER, id="provisioning")],
)
async def test_rule_07_a_limit_is_told_and_the_cluster_has_to_go(sky: Sky, limit: str, said: str) -> None:
    sky.server.speed = type(sky.server.speed)(launch=0.3)
    told = await verdict_of(SkyTaskTrigger(**request("sleep 1000", **{limit: 0.05})))
    assert said in told["error"]
    assert told["tear_down"] == CLUSTER


async def test_rule_08_a_lost_cluster_is_told_as_one_that_a_retry_can_mend(sky: Sky) -> None:
    waiting = asyncio.ensure_future(verdict_of(SkyTaskTrigger(**request("sleep 1000"))))
    await sky.until_running(CLUSTER)
    sky.do(sky.server.clusters[CLUSTER].lose)
    told = await waiting
    assert told["retryable"]
    assert "preempted" in told["error"]


async def test_rule_09_lines_are_logged_while_the_job_runs_in_order_and_without_colours(sky: Sky, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    trigger = SkyTaskTrigger(**request("echo one\n  echo two\n  sleep 1000\n  echo three"))
    monkeypatch.setattr(trigger.log, "info", lambda text, *given: logged.append(text % given))
    waiting = asyncio.ensure_future(verdict_of(trigger))
    while "two" not in logged:
        await asyncio.sleep(0.002)
    assert not waiting.done()
    assert [line for line in logged if line in ("one", "two", "three")] == ["one", "two"]
    assert not any("\x1b" in line for line in logged)
    waiting.cancel()
    await asyncio.wait([waiting])


async def test_rule_09_what_a_restarted_triggerer_shows_again_is_marked(sky: Sky, monkeypatch: pytest.MonkeyPatch) -> None:
    await cancelled(SkyTaskTrigger(**request("echo one\n  sleep 20\n  echo two")), sky)
    logged: list[str] = []
    trigger = SkyTaskTrigger(**request("echo one\n  sleep 20\n  echo two"))
    monkeypatch.setattr(trigger.log, "info", lambda text, *given: logged.append(text % given))
    await verdict_of(trigger)
    (mark,) = (index for index, line in enumerate(logged) if "its log from the first line" in line)
    assert [line for line in logged[mark:] if line in ("one", "two")] == ["one", "two"]


async def test_rule_11_a_server_that_does_not_answer_is_one_clear_line_and_no_teardown(sky: Sky) -> None:
    sky.server.answers = False
    told = await verdict_of(SkyTaskTrigger(**request()))
    assert "does not answer" in told["error"]
    assert told["retryable"]
    assert told["tear_down"] == ""


async def test_rule_10_a_secret_is_named_and_its_value_is_nowhere_but_in_the_job(
    sky: Sky, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEAM_HF_TOKEN", "hunter2-in-clear")
    trigger = SkyTaskTrigger(**request("echo token $HF_TOKEN", secrets={"HF_TOKEN": "TEAM_HF_TOKEN"}))
    told = await verdict_of(trigger)
    assert any("hunter2-in-clear" in line for line in sky.server.clusters[CLUSTER].jobs[0].lines)
    shown = capsys.readouterr()
    everywhere = "\n".join([repr(trigger), json.dumps(told), caplog.text, shown.out, shown.err, *sky.server.bodies])
    assert "token ***" in everywhere
    assert "hunter2" not in everywhere


async def test_rule_10_a_secret_that_nobody_has_is_one_clear_line(sky: Sky, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sky_orchestrate.airflow.secret_values.BaseHook.get_connection", staticmethod(SkyHook.get_connection))
    monkeypatch.setattr("sky_orchestrate.airflow.secret_values.Variable.get", staticmethod(lambda name, default=None: default))
    told = await verdict_of(SkyTaskTrigger(**request(secrets={"HF_TOKEN": "NOBODY_HAS_IT"})))
    assert "NOBODY_HAS_IT" in told["error"]
    assert not told["retryable"]


async def test_rule_15_triggers_of_one_triggerer_share_one_client(sky: Sky) -> None:
    each = [SkyTaskTrigger(**request("sleep 3", map_index=index)) for index in range(8)]
    told = await asyncio.gather(*(verdict_of(trigger) for trigger in each))
    assert len({verdict["tear_down"] for verdict in told}) == 8
    assert len(sky.endpoints) == 1
