"""docker-compose.yaml and its image: what they name is there, versions agree, and credentials are the API server's alone."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_FILE, DOCKERFILE = ROOT / "docker-compose.yaml", ROOT / "Dockerfile"
COMPOSED: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSED["services"]
AIRFLOW = {name: service for name, service in SERVICES.items() if name.startswith("airflow-")}
IMAGE = DOCKERFILE.read_text(encoding="utf-8")


def locked(package: str) -> str:
    version = re.search(rf"^{package}==(\S+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert version
    return version[1]


def composes() -> bool:
    """Whether Docker's client has its plugin; it needs no engine to read the file."""
    return shutil.which("docker") is not None and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0


@pytest.mark.skipif(not composes(), reason="docker compose is not installed")
def test_docker_compose_takes_the_file() -> None:
    subprocess.run(["docker", "compose", "--file", str(COMPOSE_FILE), "config", "--quiet"], check=True)


def test_every_process_of_airflow_runs_and_the_database_is_ready_before_any() -> None:
    assert {service["command"][0] for service in AIRFLOW.values()} == {"python", "api-server", "scheduler", "dag-processor", "triggerer"}
    init = SERVICES["airflow-init"]
    assert init["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    others = [service for service in AIRFLOW.values() if service is not init]
    assert all(service["depends_on"]["airflow-init"] == {"condition": "service_completed_successfully"} for service in others)


def test_the_images_own_entrypoint_waits_for_the_database() -> None:
    assert [name for name, service in AIRFLOW.items() if "entrypoint" in service or "user" in service] == []


def test_what_a_service_waits_for_is_there_and_tells_whether_it_is_healthy() -> None:
    for service in SERVICES.values():
        for name, condition in service.get("depends_on", {}).items():
            assert condition["condition"] == "service_completed_successfully" or "healthcheck" in SERVICES[name]


def test_airflow_speaks_to_the_servers_by_their_names_here() -> None:
    for service in AIRFLOW.values():
        set_to = service["environment"]
        for name in ("SKYPILOT_API_SERVER_ENDPOINT", "AIRFLOW__CORE__EXECUTION_API_SERVER_URL"):
            server = urlsplit(set_to[name])
            assert SERVICES[server.hostname]["ports"] == [f"127.0.0.1:{server.port}:{server.port}"]
        assert "@postgres/" in set_to["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]


def test_both_servers_have_the_versions_that_are_locked() -> None:
    assert SERVICES["skypilot-api-server"]["image"] == f"berkeleyskypilot/skypilot:{locked('skypilot')}"
    assert IMAGE.splitlines()[1].startswith(f"FROM apache/airflow:slim-{locked('apache-airflow')}-python3.")


def test_the_state_of_skypilot_is_in_volumes_of_the_api_server_alone() -> None:
    mounts = SERVICES["skypilot-api-server"]["volumes"]
    assert [mount.partition(":/root/")[2] for mount in mounts] == [".sky", ".ssh", "sky_logs"]
    own = {mount.partition(":")[0] for mount in mounts}
    assert own <= set(COMPOSED["volumes"])
    for service in AIRFLOW.values():
        assert own.isdisjoint(mount.partition(":")[0] for mount in service["volumes"])


def test_nothing_of_the_home_folder_reaches_airflow() -> None:
    for service in AIRFLOW.values():
        for mount in service["volumes"]:
            source, target, *mode = mount.split(":")
            assert target.startswith("/project/")
            assert source in COMPOSED["volumes"] or (mode == ["ro"] and (ROOT / source).is_dir())
    credentials = re.findall(r"^ +# - (\$\{HOME\}\S+)$", COMPOSE_FILE.read_text(encoding="utf-8"), re.MULTILINE)
    assert credentials
    assert all(re.fullmatch(r"\$\{HOME\}/(\S+?):/root/\1(:ro)?", mount) for mount in credentials)


def test_the_image_holds_what_it_copies_and_each_is_there() -> None:
    copied = re.findall(r"^COPY \S+ (.*) \S+$", IMAGE, re.MULTILINE)
    sources = [name for names in copied for name in names.split()]
    assert {"requirements.txt", "pyproject.toml", ".skyignore", "sky_orchestrate", "airflow_local", "tasks", "workload"} <= set(sources)
    assert [name for name in sources if not (ROOT / name).exists()] == []


def test_the_image_runs_as_airflows_own_user_and_keeps_its_files_where_a_laptop_does() -> None:
    assert re.findall(r"^USER (\S+)", IMAGE, re.MULTILINE)[-1] == "airflow"
    assert "AIRFLOW_HOME=/project/.airflow" in IMAGE
    assert all("airflow:/project/.airflow" in service["volumes"] for service in AIRFLOW.values())
