"""What `make deploy` leaves for Airflow's processes, which start side by side."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

from tests.airflow.conftest import HOME


def test_the_keys_that_airflows_processes_share_are_there_before_any_of_them_starts(database: None) -> None:
    config = ConfigParser(interpolation=None)
    config.read(Path(HOME) / "airflow.cfg")
    assert config["api_auth"]["jwt_secret"]
    assert config["core"]["fernet_key"]
