"""The provider guide's operators, with the guide's arguments."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from airflow.exceptions import AirflowProviderDeprecationWarning

from sky_orchestrate.airflow.operators import SkyDownOperator, SkyExecOperator, SkyLaunchOperator, SkySSHOperator
from sky_orchestrate.airflow.ssh import rsync_down_command, rsync_up_command, ssh_command
from sky_orchestrate.errors import SettingsError
from tests.airflow.conftest import Sky
from tests.airflow.dag_runs import new_dag, run

SSH = ["-F", "/ssh/my-cluster"]


@pytest.fixture
def task_file(tmp_path: Path) -> str:
    path = tmp_path / "task.yaml"
    path.write_text("name: task\nrun: echo done\n")
    return str(path)


@pytest.mark.usefixtures("database")
def test_rule_14_the_guides_dag_runs_on_one_cluster_and_leaves_nothing(sky: Sky, task_file: str) -> None:
    with new_dag() as dag:
        launch = SkyLaunchOperator(
            task_id="launch", sky_task_yaml=task_file, cloud="cheapest", gpus="A100:1", minimum_cpus=16, minimum_memory=32, auto_down=False
        )
        ran = SkyExecOperator(task_id="exec", cluster_name=launch.output, sky_task_yaml=task_file)
        ran >> SkyDownOperator(task_id="down", cluster_name=launch.output)
    ended = run(dag)
    assert ended.state == "success"
    assert ended.xcom("launch") == ended.xcom("exec") == ended.xcom("down")
    assert ended.xcom("exec", "sky_result")["status"] == "SUCCEEDED"
    assert "'accelerators': 'A100:1', 'cpus': '16+', 'memory': '32+'" in sky.server.bodies[0]
    assert sky.server.left == []


@pytest.mark.usefixtures("database")
def test_a_launch_that_is_to_go_down_takes_its_cluster_with_it(sky: Sky, task_file: str) -> None:
    with new_dag() as dag:
        SkyLaunchOperator(task_id="launch", sky_task_yaml=task_file)
    assert run(dag).state == "success"
    assert sky.server.left == []


def test_rule_03_a_name_for_a_cluster_that_nobody_would_take_down_is_refused() -> None:
    with pytest.raises(ValueError, match="needs auto_down=False"):
        SkyLaunchOperator(task_id="launch", sky_task_yaml="task.yaml", cluster="shared")


def test_sky_home_dir_is_taken_and_told_to_do_nothing() -> None:
    with pytest.warns(AirflowProviderDeprecationWarning, match="sky_home_dir does nothing"):
        SkyLaunchOperator(task_id="launch", sky_task_yaml="task.yaml", sky_home_dir="/opt/airflow/sky_home_dir")


@pytest.mark.parametrize("given", [pytest.param({}, id="none"), pytest.param({"cluster": "a", "cluster_name": "b"}, id="both")])
def test_one_name_for_the_cluster_is_wanted(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="one of them alone"):
        SkySSHOperator(task_id="ssh", command="ls", **given)


@pytest.mark.parametrize(
    "path", ["plain.txt", "with space", "host:file", "-e sh", "$(touch pwned)", "a'b\"c", "; rm -rf ~", "new\nline", "*?[x]", "ünï"]
)
def test_no_file_name_becomes_an_option_a_host_or_shell(path: str) -> None:
    up = rsync_up_command(SSH, "my-cluster", path, f"~/{path}")
    here, there = up[-2:]
    assert up[up.index("--") + 1 :] == [here, there]
    assert here == f"{Path.cwd()}/{path}"
    assert there == f"my-cluster:{path}"
    assert "--protect-args" in up
    there, here = rsync_down_command(SSH, "my-cluster", f"/data/{path}", path)[-2:]
    assert (there, here) == (f"my-cluster:/data/{path}", f"{Path.cwd()}/{path}")


def test_a_folders_content_is_told_from_the_folder_by_its_slash() -> None:
    assert rsync_up_command(SSH, "my-cluster", "/data/", "~/")[-2:] == ["/data/", "my-cluster:."]


def test_a_command_reaches_the_clusters_shell_as_it_stands() -> None:
    command = "echo 'a  b' && exit 3"
    assert shlex.split(ssh_command(SSH, "my-cluster", command)[-1]) == ["bash", "-c", command]


@pytest.mark.parametrize("name", ["-oProxyCommand=evil", "a b", "", "host:22", "me@host"])
def test_what_is_no_clusters_name_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="cluster_name"):
        ssh_command(SSH, name, "ls")
