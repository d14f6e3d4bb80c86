"""One step in Prefect: how it is called, retried, told apart and what it leaves in Prefect."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.blocks.system import Secret
from prefect.flow_engine import run_flow_async
from prefect.runtime import flow_run as current
from prefect.settings import PREFECT_SERVER_DATABASE_CONNECTION_URL
from prefect.variables import Variable
from pydantic import SecretStr

from flows import inputs
from flows.inputs import ENDPOINT, VARIABLE, secret_values, settings_for
from flows.sky_train_flow import run_sky_task
from sky_orchestrate.errors import DuplicateRunKey, SettingsError, SkyJobFailed, TaskFileError
from sky_orchestrate.settings import load_settings
from tests.fake_sky import FakeServer
from tests.flows.conftest import final_state, flow_run_of

TRAIN = "tasks/train.yaml"


async def test_an_async_flow_awaits_it_and_gets_plain_json(sky: FakeServer) -> None:
    @flow
    async def awaiting() -> dict[str, Any]:
        result = await run_sky_task(yaml_path=TRAIN, envs_override={"LEARNING_RATE": "0.3"})
        assert sky.left == [], "its cluster is gone when it returns"
        return result

    result = await awaiting()
    assert json.loads(json.dumps(result)) == result
    assert result["status"] == "SUCCEEDED"
    assert result["outputs"]["validation_accuracy"] == 0.3
    assert "training with 0.3" in result["log_tail"]
    assert result["timings"]["torn_down"] is not None


def test_a_sync_flow_calls_it_submits_it_and_maps_it(sky: FakeServer) -> None:
    @flow
    def calling() -> list[Any]:
        called = run_sky_task(yaml_path=TRAIN)
        submitted = run_sky_task.submit(yaml_path=TRAIN, envs_override={"EPOCHS": "4"}).result()
        mapped = run_sky_task.map(yaml_path=TRAIN, key=["a", "b"]).result()
        return [called, submitted, *mapped]

    assert [result["outputs"]["epochs"] for result in calling()] == [3, 4, 3, 3]
    assert len(sky.submissions) == 4


async def test_an_async_flow_submits_and_maps_it_and_a_sync_subflow_calls_it(sky: FakeServer) -> None:
    @flow
    def sync_subflow() -> Any:
        return run_sky_task(yaml_path=TRAIN, key="in the subflow")

    @flow
    async def submitting() -> list[Any]:
        submitted = run_sky_task.submit(yaml_path=TRAIN)
        mapped = run_sky_task.map(yaml_path=TRAIN, key=["a", "b"])
        return [submitted.result(), *mapped.result(), sync_subflow()]

    assert len(await submitting()) == 4
    assert len(set(sky.submissions)) == 4


async def test_the_jobs_log_is_in_the_task_runs_log(sky: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    @flow
    async def logging_flow() -> None:
        await run_sky_task(yaml_path=TRAIN)

    with caplog.at_level(logging.INFO, logger="prefect.task_runs"):
        await logging_flow()
    lines = [(record.__dict__["task_run_name"], record.getMessage()) for record in caplog.records if record.name == "prefect.task_runs"]
    assert ("train", "training with 0.1") in lines


async def test_a_failed_job_is_a_failed_run_after_two_retries(sky: FakeServer) -> None:
    @flow
    async def failing() -> None:
        await run_sky_task(yaml_path="tasks/broken.yaml")

    state = await final_state(failing(return_state=True))
    assert state.is_failed()
    error = await state.aresult(raise_on_failure=False)
    assert isinstance(error, SkyJobFailed)
    assert error.exit_code == 3
    assert "about to break" in error.log_tail
    assert len(sky.submissions) == 3


async def test_what_no_retry_helps_is_tried_once(sky: FakeServer, project: Path) -> None:
    (project / "tasks" / "wrong.yaml").write_text("name: wrong\nrunn: echo\n")
    runs: list[int] = []

    @flow
    async def hopeless() -> None:
        await run_sky_task.with_options(on_running=[lambda task, run, state: runs.append(run.run_count)])(yaml_path="tasks/wrong.yaml")

    with pytest.raises(TaskFileError, match="runn"):
        await hopeless()
    assert runs == [1]
    assert sky.log == []


async def test_a_retry_attaches_to_the_job_that_the_attempt_before_left(sky: FakeServer) -> None:
    attempts: list[int] = []

    def server_is_back(task: Any, run: Any, state: Any) -> None:
        attempts.append(run.run_count)
        sky.answers = True

    async def server_goes_away() -> None:
        while not sky.submissions:
            await asyncio.sleep(0.005)
        sky.answers = False

    @flow
    async def interrupted() -> dict[str, Any]:
        going = asyncio.create_task(server_goes_away())
        result = await run_sky_task.with_options(on_running=[server_is_back])(yaml_path="tasks/long.yaml")
        await going
        return result

    result = await interrupted()
    assert attempts == [1, 2]
    assert len(sky.submissions) == 1
    assert result["outputs"] == {"lasted": True}


async def test_with_options_keeps_what_it_is(sky: FakeServer) -> None:
    changed = run_sky_task.with_options(retries=5, retry_delay_seconds=60, name="patient")
    assert (changed.retries, changed.retry_delay_seconds, changed.name) == (5, 60, "patient")
    assert type(changed) is type(run_sky_task)
    assert run_sky_task.retries == 2


async def test_the_same_step_twice_is_an_error_that_names_key(sky: FakeServer) -> None:
    @flow
    async def twice() -> None:
        await run_sky_task(yaml_path=TRAIN)
        await run_sky_task(yaml_path=TRAIN, envs_override={"EPOCHS": "9"})
        await run_sky_task(yaml_path=TRAIN, key="again")
        with pytest.raises(DuplicateRunKey, match="key="):
            await run_sky_task(yaml_path=TRAIN)
        with pytest.raises(DuplicateRunKey, match="key="):
            run_sky_task.map(yaml_path=TRAIN, key=["x", "x"]).result()

    await twice()
    assert len(sky.submissions) == 4


async def test_a_retry_of_the_flow_run_does_not_repeat_what_completed(sky: FakeServer) -> None:
    broken = {"yes": True}

    @flow
    async def breaking() -> str:
        await run_sky_task(yaml_path=TRAIN)
        if broken["yes"]:
            raise RuntimeError("after the training")
        return str(current.id)

    state = await final_state(breaking(return_state=True))
    assert state.is_failed()
    broken["yes"] = False
    again = await flow_run_of(state)
    assert await run_flow_async(breaking, flow_run=again) == str(again.id)
    assert len(sky.submissions) == 1


async def test_a_subflows_cluster_carries_the_outermost_run(sky: FakeServer) -> None:
    @flow
    async def inner() -> str:
        result = await run_sky_task(yaml_path=TRAIN, down_on_completion=False)
        return str(result["cluster_name"])

    @flow
    async def outer() -> tuple[str, str]:
        return await inner(), str(current.id)

    cluster, run = await outer()
    assert sky.clusters[cluster].labels["run"] == run
    assert sky.clusters[cluster].labels["owner"] == "proj"
    assert sky.clusters[cluster].labels["keep"] == "1"
    await sky.client().down(cluster)


async def test_a_secret_is_nowhere_but_in_the_secrets(
    sky: FakeServer, project: Path, results: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (project / "tasks" / "secret.yaml").write_text("name: secret\nsecrets: {HF_TOKEN: ''}\nrun: |\n  echo ready\n")
    await Secret(value=SecretStr("hf_sesame")).asave("my-token", overwrite=True)
    caplog.set_level(logging.DEBUG)

    @flow(persist_result=True)
    async def with_secret(block: str) -> dict[str, Any]:
        return await run_sky_task(yaml_path="tasks/secret.yaml", secrets={"HF_TOKEN": block}, down_on_completion=False)

    result = await with_secret("my-token")
    assert [job.envs["HF_TOKEN"] for job in sky.clusters[result["cluster_name"]].jobs] == ["hf_sesame"]
    await sky.client().down(result["cluster_name"])
    database = str(PREFECT_SERVER_DATABASE_CONNECTION_URL.value()).split("///")[1]
    kept = [path.read_bytes() for path in [Path(database), Path(database + "-wal"), *results.iterdir()] if path.exists()]
    assert b"my-token" in b"".join(kept)
    seen = b"".join([*kept, repr(result).encode(), caplog.text.encode(), *(body.encode() for body in sky.bodies)])
    assert b"hf_sesame" not in seen


async def test_a_missing_secret_block_is_told_with_how_to_make_it() -> None:
    with pytest.raises(SettingsError, match=r"no-such-block.*Blocks"):
        await secret_values({"HF_TOKEN": "no-such-block"})


async def test_the_endpoint_is_the_arguments_else_the_environments_else_the_variables(
    sky: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await settings_for(None)).endpoint == "http://127.0.0.1:46580"
    await Variable.aset(VARIABLE, "http://variable:46580", overwrite=True)
    assert (await settings_for(None)).endpoint == "http://variable:46580"
    monkeypatch.setattr(inputs, "load_settings", load_settings)
    monkeypatch.setenv(ENDPOINT, "http://environment:46580")
    assert (await settings_for(None)).endpoint == "http://environment:46580"
    assert (await settings_for("http://argument:46580")).endpoint == "http://argument:46580"
    await Variable.aunset(VARIABLE)


def test_importing_the_flow_imports_no_skypilot() -> None:
    check = "import sys, flows.sky_train_flow; assert not [name for name in sys.modules if name == 'sky' or name.startswith('sky.')]"
    subprocess.run([sys.executable, "-c", check], cwd=Path(__file__).resolve().parents[2], check=True)
