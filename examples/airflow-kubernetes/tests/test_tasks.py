"""The task files as SkyPilot's own parser reads them, and the setup they share."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
NAMES = ["data_preprocessing", "train", "eval"]


def config(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "tasks" / f"{name}.yaml").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_skypilots_own_parser_takes_the_task_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sky  # it costs seconds: only where it is needed

    monkeypatch.chdir(ROOT)
    task = sky.Task.from_yaml(f"tasks/{name}.yaml")
    assert task.workdir == "."
    assert task.num_nodes == 1
    (resources,) = task.resources
    wanted = config(name)["resources"].get("accelerators")
    count = {accelerator: int(number) for accelerator, number in (resources.accelerators or {}).items()}
    assert count == ({wanted.split(":")[0]: int(wanted.split(":")[1])} if wanted else {})


def test_only_the_steps_on_a_network_ask_for_an_accelerator() -> None:
    assert "accelerators" not in config("data_preprocessing")["resources"]
    assert config("train")["resources"] == config("eval")["resources"]


def test_eval_can_follow_on_the_cluster_of_train() -> None:
    train, evaluation = config("train"), config("eval")
    assert train["setup"] == evaluation["setup"]
    assert train.get("file_mounts") == evaluation.get("file_mounts")


@pytest.mark.parametrize("name", NAMES)
def test_every_block_stops_at_its_first_error(name: str) -> None:
    for block in ("setup", "run"):
        assert config(name)[block].startswith("set -euo pipefail\n")


@pytest.mark.parametrize("name", NAMES)
def test_every_env_and_secret_has_a_default_so_that_the_file_can_be_launched_alone(name: str) -> None:
    task = config(name)
    assert all(isinstance(value, str) for value in {**task["envs"], **task["secrets"]}.values())
    assert set(task["secrets"].values()) == {""}
    assert not [env for env in task["envs"] if "SECRET" in env or "TOKEN" in env or env.endswith("KEY")]


def test_only_what_a_step_needs_is_copied_to_the_cluster(tmp_path: Path) -> None:
    from sky.data import storage_utils

    kept, left_out = (
        ["workload/train.py", "tasks/train.yaml"],
        [".env", ".venv/bin/python", ".local/bucket/x", ".git/config", "tests/test_x.py"],
    )
    for path in kept + left_out:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    shutil.copy(ROOT / ".skyignore", tmp_path)
    left = {path.name for path in tmp_path.iterdir()} - set(storage_utils.get_excluded_files(str(tmp_path)))
    assert left == {"workload", "tasks"}


def setup(home: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the shared setup with a uv that only notes what it was asked."""
    tools = home / ".local" / "bin"
    tools.mkdir(parents=True, exist_ok=True)
    (tools / "uv").write_text('#!/bin/bash\necho "$@" >>~/asked\nif [ "$1" = venv ]; then mkdir -p "${!#}"; fi\n[ ! -e ~/broken ]\n')
    (tools / "uv").chmod(0o755)
    path = os.pathsep.join(folder for folder in os.environ["PATH"].split(os.pathsep) if not (Path(folder) / "uv").exists())
    environ = {"HOME": str(home), "PATH": path, **environ}
    return subprocess.run(["bash", "workload/setup.sh"], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    ("environ", "requirements"),
    [
        ({}, "file"),
        ({"DATA_BUCKET_URL": "", "DATA_BUCKET_STORE_TYPE": ""}, "file"),
        ({"DATA_BUCKET_URL": "file:///srv/s3"}, "file"),
        ({"DATA_BUCKET_URL": "s3://b/x"}, "s3"),
        ({"DATA_BUCKET_URL": "r2://b"}, "s3"),
        ({"DATA_BUCKET_STORE_TYPE": "S3"}, "s3"),
        ({"DATA_BUCKET_URL": "gs://b", "DATA_BUCKET_STORE_TYPE": "s3"}, "gs"),
        ({"DATA_BUCKET_STORE_TYPE": "gcs"}, "gs"),
        ({"DATA_BUCKET_STORE_TYPE": "azure"}, "az"),
        ({"DATA_BUCKET_URL": "abfs://c@a.dfs.core.windows.net"}, "az"),
    ],
)
def test_setup_installs_what_the_buckets_scheme_needs(environ: dict[str, str], requirements: str, tmp_path: Path) -> None:
    done = setup(tmp_path, **environ)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "asked").read_text().splitlines()[-1].endswith(f"workload/requirements/{requirements}.txt")


def test_setup_does_nothing_where_the_venv_stands(tmp_path: Path) -> None:
    setup(tmp_path)
    asked = (tmp_path / "asked").read_text()
    assert "stands already" in setup(tmp_path).stdout
    assert (tmp_path / "asked").read_text() == asked
    setup(tmp_path, DATA_BUCKET_URL="s3://b")
    assert (tmp_path / "asked").read_text() != asked


def test_setup_that_broke_off_is_done_again(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    assert setup(tmp_path).returncode != 0
    (tmp_path / "broken").unlink()
    assert "made" in setup(tmp_path).stdout


def test_the_locked_requirements_agree_with_each_other() -> None:
    def pins(name: str) -> set[str]:
        lines = (ROOT / "workload" / "requirements" / f"{name}.txt").read_text().splitlines()
        return {line.split()[0] for line in lines if "==" in line and not line.startswith("#")}

    assert all(pins("file") <= pins(name) for name in ("s3", "gs", "az"))
