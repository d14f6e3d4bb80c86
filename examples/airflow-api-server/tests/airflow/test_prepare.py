"""What `make deploy` leaves for Airflow's processes, which start side by side."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

from airflow_local.prepare import commands
from tests.airflow.conftest import HOME


def test_the_keys_that_airflows_processes_share_are_there_before_any_of_them_starts(database: None) -> None:
    config = ConfigParser(interpolation=None)
    config.read(Path(HOME) / "airflow.cfg")
    assert config["api_auth"]["jwt_secret"]
    assert config["core"]["fernet_key"]


def test_what_is_told_starts_airflow_with_the_settings_of_make_and_shows_no_password(database: None) -> None:
    set_here = {"AIRFLOW_HOME": "/srv/my airflow", "AIRFLOW__API__HOST": "127.0.0.1", "HOME": "/home/me"}
    kept_back = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://me:hunter2@db/airflow", "AIRFLOW_CONN_TEAM": "http://me:hunter2@sky"}
    told = commands({**set_here, **kept_back})
    assert told[1:] == [
        "export AIRFLOW_CONN_TEAM=...  # as it is set here",
        "export AIRFLOW_HOME='/srv/my airflow'",
        "export AIRFLOW__API__HOST=127.0.0.1",
        "export AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=...  # as it is set here",
        ".venv/bin/airflow NAME",
    ]
