"""How a pod ends: the user's cancel takes the cluster down, a worker or triggerer that goes away leaves it, and each exit is told."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timezone
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from kubernetes.client import models as k8s

from sky_orchestrate.airflow_pods import ending, trigger
from sky_orchestrate.airflow_pods.operator import SkyPodOperator
from sky_orchestrate.airflow_pods.trigger import SkyPodTrigger
from tests.airflow_pods.conftest import Notes, context_of

CANCEL = ["label", "exec base", "delete"]


def a_pod(*, exit_code: int | None = None, message: str = "", reason: str = "", waiting: str = "") -> k8s.V1Pod:
    ended = None if exit_code is None else k8s.V1ContainerStateTerminated(exit_code=exit_code, message=message, reason=reason or "Error")
    held = k8s.V1ContainerStateWaiting(reason=waiting, message=message) if waiting else None
    state = k8s.V1ContainerState(terminated=ended, waiting=held)
    status = k8s.V1ContainerStatus(name="base", image="i", image_id="", ready=False, restart_count=0, state=state)
    return k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(name="train-x", namespace="pipelines"),
        spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="base", image="project:1")]),
        status=k8s.V1PodStatus(phase="Pending" if waiting else "Running", container_statuses=[status]),
    )


def a_task(kubernetes: Notes, *, states: Any = None) -> SkyPodOperator:
    task = SkyPodOperator(task_id="train", sky_command=["run", "tasks/train.yaml"])
    client: Any = kubernetes
    task.client = client
    task.pod = a_pod()
    task._ti = context_of(task, states=states)["ti"]
    return task


def a_trigger(**given: Any) -> SkyPodTrigger:
    started = datetime(2026, 11, 25, tzinfo=timezone.utc)
    asked = {"pod_name": "train-x", "pod_namespace": "pipelines", "trigger_start_time": started, "base_container_name": "base"}
    return SkyPodTrigger(**{**asked, **given})


def test_rule_06_a_task_that_its_user_marks_interrupts_the_command_then_ends_the_pod(kubernetes: Notes) -> None:
    a_task(kubernetes, states={"train": "failed"}).on_kill()
    assert kubernetes.kinds == CANCEL
    assert kubernetes.calls[-1] == ("delete", "train-x", ending.GRACE)
    # No later attempt attaches to a pod that is on its way out.
    assert kubernetes.calls[0][2] == {SkyPodOperator.POD_CHECKED_KEY: "True"}


def test_rule_05_a_worker_that_goes_away_leaves_the_pod(kubernetes: Notes) -> None:
    a_task(kubernetes, states={"train": "running"}).on_kill()
    assert kubernetes.calls == []


def test_rule_05_a_worker_that_cannot_ask_airflow_leaves_the_pod(kubernetes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    task = a_task(kubernetes)
    task._ti.get_task_states = lambda *_, **__: asyncio.run(asyncio.sleep(5)) or {}
    monkeypatch.setattr("sky_orchestrate.airflow_pods.operator._ANSWER_WITHIN", 0.1)
    task.on_kill()
    assert kubernetes.calls == []


def test_rule_06_a_pod_that_does_not_run_yet_is_only_deleted(kubernetes: Notes) -> None:
    kubernetes.running = False
    a_task(kubernetes, states={"train": "failed"}).on_kill()
    assert kubernetes.kinds == ["label", "delete"]


@pytest.fixture
def asked(kubernetes: Notes, monkeypatch: pytest.MonkeyPatch) -> Notes:
    """The triggerer's way to Kubernetes."""

    class Hook:
        core_v1_client = kubernetes

        def __init__(self, **_: Any) -> None: ...

    monkeypatch.setattr(trigger, "KubernetesHook", Hook)
    return kubernetes


async def test_rule_06_a_deferred_task_that_its_user_marks_interrupts_the_command_then_ends_the_pod(asked: Notes) -> None:
    await a_trigger().on_kill()
    assert asked.kinds == CANCEL


async def test_rule_05_a_triggerer_that_restarts_leaves_the_pod(asked: Notes) -> None:
    await a_trigger().cleanup()
    assert asked.calls == []


async def test_a_trigger_that_has_told_how_the_pod_ended_ends_nothing_more(asked: Notes) -> None:
    fired = a_trigger()
    fired._fired_event = True
    await fired.on_kill()
    assert asked.calls == []


def test_a_trigger_comes_back_whole_from_airflows_database() -> None:
    path, arguments = a_trigger(logging_interval=5, in_cluster=True).serialize()
    assert path == "sky_orchestrate.airflow_pods.trigger.SkyPodTrigger"
    again = SkyPodTrigger(**arguments)
    assert again.serialize() == (path, arguments)
    assert (again.in_cluster, again.logging_interval) == (True, 5)


TOLD = json.dumps({"error": "job 1 on c ended FAILED with exit code 7", "retryable": True})
HOPELESS = json.dumps({"error": "LaunchRejected: no such GPU", "retryable": False})


@pytest.mark.parametrize(
    ("pod", "says", "retryable"),
    [
        pytest.param(a_pod(exit_code=1, message=TOLD), "ended FAILED with exit code 7", True, id="a failed job"),
        pytest.param(a_pod(exit_code=3, message=HOPELESS), "no such GPU", False, id="what the command itself calls hopeless"),
        pytest.param(a_pod(exit_code=2, message="usage: ..."), "wrong input", False, id="a misused command"),
        pytest.param(a_pod(exit_code=143), "the next attempt attaches", True, id="told to stop"),
        pytest.param(a_pod(exit_code=137), "the next attempt attaches", True, id="killed"),
        pytest.param(a_pod(exit_code=137, reason="OOMKilled"), "memory limit", True, id="out of memory"),
        pytest.param(a_pod(exit_code=5), "may still cost money", True, id="a cluster may be left"),
        pytest.param(a_pod(exit_code=130), "cancelled by its user", False, id="cancelled"),
        pytest.param(a_pod(exit_code=1, message="one\nerror: Traceback\n"), "Traceback", True, id="anything else: its last line"),
        pytest.param(a_pod(exit_code=1), "as Airflow has it", True, id="nothing said"),
        pytest.param(
            a_pod(waiting="ErrImagePull", message="no such\nimage"),
            "project:1 cannot be pulled: ErrImagePull no such image",
            True,
            id="an image that cannot be pulled",
        ),
        pytest.param(
            k8s.V1Pod(status=k8s.V1PodStatus(phase="Failed", reason="Evicted", message="low on memory")),
            "Evicted: low on memory",
            True,
            id="evicted",
        ),
        pytest.param(None, "as Airflow has it", True, id="gone"),
    ],
)
def test_every_end_of_a_pod_is_told_in_one_line_with_whether_a_retry_helps(pod: Any, says: str, *, retryable: bool) -> None:
    found = ending.failure(pod, "as Airflow has it")
    assert says in found.says
    assert len(found.says.splitlines()) == 1
    assert found.retryable is retryable


@pytest.mark.parametrize(
    ("message", "kind"), [(TOLD, AirflowException), (HOPELESS, AirflowFailException)], ids=["a retry helps", "no retry helps"]
)
def test_airflow_is_told_whether_to_retry(kubernetes: Notes, message: str, kind: type[Exception]) -> None:
    task = a_task(kubernetes)
    task.pod = a_pod(exit_code=1, message=message)
    with pytest.raises(AirflowException) as told, task._failure_told():
        raise AirflowException("Pod train-x returned a failure.\nremote_pod: {...}")
    assert type(told.value) is kind
    assert str(told.value) == json.loads(message)["error"]


def test_rule_07_a_timeout_is_told_as_one_whatever_the_pod_says_in_its_end(kubernetes: Notes) -> None:
    task = a_task(kubernetes)
    task.pod = a_pod(exit_code=130)
    with pytest.raises(AirflowException, match="execution_timeout"), task._failure_told("the task's execution_timeout deadline"):
        raise AirflowException("x")
