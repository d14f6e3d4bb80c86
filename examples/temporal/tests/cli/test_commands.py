"""`python -m sky_orchestrate`: what it prints and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from sky_orchestrate import errors, invocation
from sky_orchestrate.client import Client
from sky_orchestrate.cluster import Server
from tests.cli.conftest import ROOT, Call, Write, cli
from tests.fake_sky import FakeServer


def test_a_tasks_log_goes_to_stderr_and_its_result_to_stdout(call: Call, task: Write) -> None:
    code, out, err = call("run", task("""echo '::sky-output::{"accuracy": 0.97}'"""))
    assert code == 0
    result = json.loads(out)
    assert (result["status"], result["outputs"]) == ("SUCCEEDED", {"accuracy": 0.97})
    assert "::sky-output::" in err


def test_a_failed_job_is_a_failed_command_in_one_line(call: Call, task: Write) -> None:
    code, out, err = call("run", task("echo [bold]oh[/bold] :smile:", "exit 3"))
    assert (code, out) == (1, "")
    assert "[bold]oh[/bold] :smile:" in err
    (said,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "exit code 3" in said
    assert "Traceback" not in err


def test_a_wrong_task_file_ends_before_anything_is_launched(call: Call, task: Write, server: FakeServer) -> None:
    code, _, err = call("run", task(more="resource: {}\n"))
    assert code == 2
    assert "did you mean `resources`" in err
    assert call("run", "no-such-file.yaml")[0] == 2


def test_a_limit_is_a_code_of_its_own(call: Call, task: Write) -> None:
    assert call("run", task("sleep 500"), "--limit-run", "0.2s")[0] == 4


def test_envs_secrets_and_gpus_are_taken_from_the_command_line(
    call: Call, task: Write, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hunter2")
    monkeypatch.setenv("RATE", "0.1")
    written = task(more="envs: {EPOCHS: 1, RATE: }\nsecrets: {HF_TOKEN: }\n")
    code, out, err = call(
        "run", written, "--env", "EPOCHS=a=b", "--env", "RATE", "--secret", "HF_TOKEN", "--gpus", "H100:2", "--infra", "slurm"
    )
    assert code == 0
    assert "hunter2" not in out + err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--secret", "TOKEN=hunter2"], "leave the value out"),
        (["--secret", "NO_SUCH_TOKEN"], "neither the environment nor .env"),
        (["--env", "NO_SUCH_ENV"], "write --env NO_SUCH_ENV=VALUE"),
        (["--gpus", "two H100"], "no GPU"),
        (["--infra", "slrum"], "did you mean `slurm`"),
        (["--endpoint", "sky.example.org"], "http(s)://host:port"),
        (["--ref", "main"], "no Git URL"),
    ],
)
def test_a_wrong_argument_is_one_line(call: Call, task: Write, arguments: list[str], said: str) -> None:
    code, out, err = call("run", task(), *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
    assert "hunter2" not in err


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["run"], ["run", "x.yaml", "--limit-run", "soon"], ["run", "x.yaml", "--idle-minutes", "0"], ["down"]]
)
def test_a_misused_command_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize("command", [[], ["run"], ["logs"], ["status"], ["down"], ["reap"], ["doctor"]])
def test_help_tells_every_exit_code(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([*command, "--help"])
    said = capsys.readouterr().out
    for code in invocation.ExitCode:
        assert f"\n  {code.value} " in said


def test_the_same_key_finds_what_was_started_before(call: Call, task: Write, server: FakeServer) -> None:
    def cluster(said: str) -> str:
        return said.partition("on cluster ")[2].partition(";")[0]

    one, again, other = (call("run", task(), "--key", key)[2] for key in ("a", "a", "b"))
    assert cluster(one) == cluster(again) != cluster(other)


def test_a_kept_cluster_is_told_and_taken_down_by_name(call: Call, task: Write, server: FakeServer) -> None:
    code, out, err = call("run", task(), "--keep")
    name = json.loads(out)["cluster_name"]
    assert code == 0
    assert f"sky down {name}" in err
    assert len(server.left) == 1
    code, out, _ = call("down", name, "never-was-there")
    assert code == 0
    assert f"{name}: gone" in out


def test_the_reaper_asks_the_orchestrators_function(
    call: Call, task: Write, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs_of_test.py").write_text(
        "from sky_orchestrate.reaper import RunState\nasync def state(run):\n    return RunState(over=run == 'cli-over', ended_at=0.0)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SKY_ORCHESTRATE_RUN_STATE", "runs_of_test:state")
    assert call("reap")[0] == 0
    kept = [json.loads(call("run", task(), "--keep", "--key", key)[1])["cluster_name"] for key in ("over", "live")]
    for cluster in server.clusters.values():
        cluster.labels["keep"] = "0"
    _, dry, _ = call("reap", "--dry-run")
    assert f"{kept[0]}: would take down" in dry
    assert len(server.left) == 2
    _, out, _ = call("reap")
    assert f"{kept[0]}: taken down" in out
    assert f"{kept[1]}: left: its run is live" in out
    code, out, _ = call("reap", "--run", "cli-live")
    assert (code, out) == (0, f"{kept[1]}: taken down: its run is over\n")


@pytest.mark.parametrize("named", ["", "no_such_module:state", "json:no_such_function", "json"])
def test_a_run_state_that_is_not_there_is_one_line(call: Call, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKY_ORCHESTRATE_RUN_STATE", named)
    code, _, err = call("reap")
    assert code == 2
    assert "run_state" in err


def test_the_doctor_ends_with_1_where_something_is_missing(task: Write, capsys: pytest.CaptureFixture[str]) -> None:
    class Unwell:
        async def server(self) -> Server:
            raise errors.EndpointUnreachable("no answer")

    code = cli.main(["doctor", task()], connect=lambda _: cast("Client", Unwell()))
    said = capsys.readouterr().out
    assert code == 1
    assert "FAIL  endpoint: no answer" in said
    assert "ok    tasks: train" in said


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.SkyJobCancelled(cluster_name="c", job_id=1, status="CANCELLED", exit_code=103), 1),
        (errors.TaskFileError("a", "b", "c", "d"), 2),
        (errors.SettingsError("x"), 2),
        (errors.LaunchRejected("x"), 2),
        (errors.EndpointUnreachable("x"), 3),
        (errors.SkyNoCapacity("x"), 3),
        (errors.SkyClusterLost("x"), 3),
        (errors.SkyQueuedTimeout("x"), 4),
        (errors.SkyTeardownFailed("x"), 5),
    ],
)
def test_every_error_has_its_code(error: errors.SkyOrchestrateError, code: int) -> None:
    assert invocation.exit_code(error) == code


def test_importing_the_command_line_does_not_import_skypilot() -> None:
    code = "import importlib, sys; importlib.import_module('sky_orchestrate.__main__'); sys.exit('sky' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
