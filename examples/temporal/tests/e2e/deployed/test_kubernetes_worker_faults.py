"""Pods of ours: they hold no token. One that dies, the worker's or the API server's, leaves the cluster, and the next attempt attaches to
its one job.
"""

from __future__ import annotations

import json

import pytest

from tests.e2e import worker_pods
from tests.e2e.deployed.deployment import Deployed
from tests.e2e.orchestra import Orchestra, Run
from tests.e2e.pods import PodJob, Pods
from tests.e2e.processes import until

pytestmark = [pytest.mark.e2e, pytest.mark.kubernetes, pytest.mark.deadline(900)]


@pytest.mark.parametrize("name", [worker_pods.WORKER, worker_pods.SERVER])
def test_the_orchestrators_pods_hold_no_token(deployed: Deployed, name: str) -> None:
    pod = json.loads(deployed.workers.kubectl("get", "pod", deployed.pod_of(deployed.workers, name), "--output", "json"))
    mounts = [mount["mountPath"] for container in pod["spec"]["containers"] for mount in container["volumeMounts"]]
    assert mounts
    assert [path for path in mounts if "serviceaccount" in path] == []


def test_rule_01_the_workers_pod_killed_mid_launch_and_the_next_one_makes_one_job(
    skypilot: Pods, orchestra: Orchestra, job: PodJob
) -> None:
    run = orchestra.step(job.yaml("true"))
    until("the cluster's pod is being made", lambda: job.pods, within=200)
    orchestra.kill_worker()
    orchestra.next_attempt(run)
    assert run.verdict(within=500) == "Completed"
    assert skypilot.submissions(job.name) == 1
    skypilot.assert_nothing_left()


def test_rule_05_the_workers_pod_killed_mid_run_and_the_next_one_attaches(skypilot: Pods, orchestra: Orchestra, job: PodJob) -> None:
    run = orchestra.step(job.yaml(job.wait))
    until("the job has begun", lambda: run.says("waiting"), within=400)
    (pod,) = job.pods
    orchestra.kill_worker()
    assert job.pods == [pod]
    orchestra.next_attempt(run)
    until("the next worker has attached", lambda: run.says("attached to job 1"), within=200)
    job.end()
    assert run.verdict(within=200) == "Completed"
    assert skypilot.submissions(job.name) == 1
    skypilot.assert_nothing_left()


def test_rule_09_the_api_servers_pod_killed_mid_run_and_the_next_one_knows_the_job(
    deployed: Deployed, skypilot: Pods, orchestra: Orchestra, job: PodJob
) -> None:
    run = orchestra.step(job.yaml(job.wait))
    until("the job has begun", lambda: run.says("waiting"), within=400)
    (pod,) = job.pods
    deployed.kill(deployed.skypilot, "sky-api-server")
    deployed.until_ready(deployed.skypilot, "sky-api-server")
    until("it is reached from here", skypilot.answers, within=60)
    assert job.pods == [pod]
    until("the job is heard of again", lambda: _waiting_since(run, "asking again") > 5, within=200)
    # The server's list of requests went with it, so the cluster's own queue says how many jobs there were.
    assert skypilot.jobs(job.name) == [1]
    job.end()
    assert run.verdict(within=400) == "Completed"
    skypilot.assert_nothing_left()


def _waiting_since(run: Run, text: str) -> int:
    """How many lines of the job came after the last one of ours with this text."""
    logs = run.logs
    told = [number for number, line in enumerate(logs) if text in line]
    return sum("waiting" in line for line in logs[told[-1] :]) if told else 0
