"""`python -m sky_orchestrate run|down|reap|doctor`, once each, on the local SkyPilot."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.cloud import Cloud
from tests.e2e.jobs import Job
from tests.e2e.processes import Household, until

pytestmark = pytest.mark.e2e

CLI = ("-m", "sky_orchestrate")


def written(job: Job) -> Path:
    path = job.folder / "task.yaml"
    path.write_text(job.yaml)
    return path


def test_doctor_finds_all_well(household: Household) -> None:
    told = household.run(*CLI, "doctor")
    assert told.returncode == 0, told.stdout + told.stderr


def test_rule_03_run_keeps_a_cluster_on_purpose_reap_leaves_it_and_down_takes_it(cloud: Cloud, household: Household, job: Job) -> None:
    job = replace(job, run="echo '::sky-output::{\"accuracy\": 0.97}'")
    ran = household.run(*CLI, "run", str(written(job)), "--keep", "--key", job.name, within=180)
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert result["outputs"] == {"accuracy": 0.97}
    reaped = household.run(*CLI, "reap", within=60)
    assert reaped.returncode == 0, reaped.stderr
    assert f"{result['cluster_name']}" in reaped.stdout + reaped.stderr
    assert cloud.allocations(job.name)
    down = household.run(*CLI, "down", result["cluster_name"], within=90)
    assert down.returncode == 0, down.stderr
    assert job.began == 1
    cloud.assert_nothing_left(job.name)


def test_rule_06_ctrl_c_takes_the_cluster_down(cloud: Cloud, household: Household, job: Job) -> None:
    job = job.gated()
    running = household.start(*CLI, "run", str(written(job)), log="run")
    until("the job has begun", lambda: job.began, within=120)
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=120) == 130
    assert cloud.submissions(job.name) == 1
    cloud.assert_nothing_left(job.name)


def test_rule_05_reap_of_a_run_takes_down_what_sigterm_left(cloud: Cloud, household: Household, job: Job) -> None:
    job = job.gated()
    running = household.start(*CLI, "run", str(written(job)), "--key", job.name, log="run")
    until("the job has begun", lambda: job.began, within=120)
    running.terminate()
    assert running.wait(timeout=60) == 143
    assert cloud.allocations(job.name)
    reaped = household.run(*CLI, "reap", "--run", f"cli-{job.name}", within=120)
    assert reaped.returncode == 0, reaped.stderr
    cloud.assert_nothing_left(job.name)
