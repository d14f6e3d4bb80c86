"""The command as a step of a pipeline: named within its run, its result and its error in files, its cluster shared."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from sky_orchestrate import naming
from tests.cli.conftest import Call, Write
from tests.fake_sky import FakeServer


def result_of(path: Path) -> dict[str, object]:
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_result_goes_to_a_file_in_place_of_stdout(call: Call, task: Write, tmp_path: Path) -> None:
    code, out, _ = call("run", task("""echo '::sky-output::{"accuracy": 0.97}'"""), "--result", str(tmp_path / "return.json"))
    assert (code, out) == (0, "")
    assert result_of(tmp_path / "return.json")["outputs"] == {"accuracy": 0.97}


def test_a_result_is_whole_or_not_there(call: Call, task: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str, encoding: str) -> int:
        path.open("w", encoding=encoding).write(text[:10])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="no space left"):
        call("run", task_of(tmp_path), "--result", str(tmp_path / "return.json"))
    assert not (tmp_path / "return.json").exists()


def task_of(folder: Path) -> str:
    path = folder / "train.yaml"
    with path.open("w", encoding="utf-8") as file:
        file.write("name: train\nrun: echo hello\n")
    return str(path)


def test_a_failed_job_leaves_no_result_and_says_why_in_a_file(call: Call, task: Write, tmp_path: Path) -> None:
    files = ["--result", str(tmp_path / "return.json"), "--error", str(tmp_path / "error")]
    assert call("run", task("echo no such luck", "exit 3"), *files)[0] == 1
    assert not (tmp_path / "return.json").exists()
    told = result_of(tmp_path / "error")
    assert told["retryable"] is True
    assert "exit code 3" in str(told["error"])
    assert len(str(told["error"]).splitlines()) == 1


def test_an_error_that_no_retry_mends_says_so(call: Call, task: Write, tmp_path: Path) -> None:
    assert call("run", task(more="resource: {}\n"), "--error", str(tmp_path / "error"))[0] == 2
    assert result_of(tmp_path / "error")["retryable"] is False


def test_a_file_that_cannot_be_written_is_told_before_anything_is_launched(call: Call, task: Write, server: FakeServer) -> None:
    code, _, err = call("run", task(), "--result", "/no/such/folder/return.json")
    assert code == 2
    assert "no folder /no/such/folder" in err
    assert server.clusters == {}


def test_rule_01_a_run_and_a_key_name_a_step_however_often_it_is_tried(call: Call, task: Write, server: FakeServer) -> None:
    def cluster(run: str, key: str) -> str:
        return call("run", task(), "--run", run, "--key", key)[2].partition("on cluster ")[2].partition(";")[0]

    names = [cluster(run, key) for run, key in (("a", "train/-1"), ("a", "train/-1"), ("a", "train/0"), ("b", "train/-1"))]
    assert names[0] == names[1]
    assert len(set(names)) == 3


def test_rule_04_a_steps_cluster_carries_its_run_and_the_orchestrators_own_labels(call: Call, task: Write, server: FakeServer) -> None:
    assert call("run", task(), "--run", "pipeline/run", "--key", "x", "--label", "pipeline-run-1=abc", "--keep")[0] == 0
    (cluster,) = server.clusters.values()
    assert cluster.labels["run"] == naming.label("pipeline/run")
    assert cluster.labels["pipeline-run-1"] == "abc"
    call("down", *server.left)


@pytest.mark.parametrize("label", ["pipeline-run-1", "Run=a", "run=A b", "run="])
def test_a_label_that_some_cloud_would_refuse_is_one_line(call: Call, task: Write, label: str) -> None:
    code, _, err = call("run", task(), "--label", label)
    assert code == 2
    assert "NAME=VALUE" in err


def test_rule_14_steps_of_a_run_share_a_cluster_until_it_is_taken_down_by_its_name(call: Call, task: Write, server: FakeServer) -> None:
    step = ("--run", "a", "--cluster", "gpu")
    first, second = (call("run", task("echo hello"), *step, "--key", key) for key in ("train", "eval"))
    assert (first[0], second[0]) == (0, 0)
    results = [json.loads(out) for _, out, _ in (first, second)]
    assert [result["job_id"] for result in results] == [1, 2]
    assert results[0]["cluster_name"] == results[1]["cluster_name"]
    assert server.left == [results[0]["cluster_name"]]
    assert call("status", "--run", "b")[1].startswith("no cluster of")
    assert results[0]["cluster_name"] in call("status", "--run", "a")[1]
    code, out, _ = call("logs", "gpu", "--run", "a")
    assert code == 0
    assert "hello" in out
    assert "job 2 is SUCCEEDED" in out
    code, out, _ = call("down", "gpu", "--run", "a")
    assert (code, out) == (0, f"{results[0]['cluster_name']}: gone (0 s)\n")


def test_rule_01_what_attaches_to_a_step_again_is_told_as_a_shell_takes_it(call: Call, task: Write) -> None:
    step = ["--run", "nightly of the 1st", "--key", "train/0", "--cluster", "gpu"]
    told = call("run", task(), *step)[2].partition("; ")[2].partition(" attaches")[0]
    assert shlex.split(told) == step
    call("down", "gpu", "--run", "nightly of the 1st")


def test_a_shared_cluster_wants_its_run(call: Call, task: Write) -> None:
    code, _, err = call("run", task(), "--cluster", "gpu")
    assert code == 2
    assert "--run ID" in err


def test_the_log_of_a_cluster_that_is_not_there_is_one_line(call: Call) -> None:
    code, out, err = call("logs", "no-such-cluster")
    assert (code, out) == (3, "")
    assert len(err.splitlines()) == 1


def test_rule_04_the_reaper_hands_all_labels_to_an_orchestrators_function_that_asks_for_them(
    call: Call, task: Write, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs_by_label.py").write_text(
        "from sky_orchestrate.reaper import RunState\n"
        "async def state(run, labels):\n    return RunState(over=labels['pipeline-run-1'] == 'over', ended_at=0.0)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SKY_ORCHESTRATE_RUN_STATE", "runs_by_label:state")
    for mark in ("over", "live"):
        assert call("run", task(), "--run", mark, "--cluster", "x", "--label", f"pipeline-run-1={mark}")[0] == 0
    assert "its run is live" in call("reap")[1]
    assert len(server.left) == 1
    call("down", *server.left)
