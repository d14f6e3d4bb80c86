"""The provider as Airflow sees it: its registration, its connection and what a connection holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.providers_manager import ProvidersManager

from sky_orchestrate.airflow.hook import SkyHook
from sky_orchestrate.airflow.provider import get_provider_info
from sky_orchestrate.errors import SettingsError
from tests.airflow.conftest import Sky
from tests.airflow.dag_runs import new_dag, run, sky_task


def test_airflow_lists_the_provider_with_its_connection_form_and_link() -> None:
    manager = ProvidersManager()
    assert manager.providers[get_provider_info()["package-name"]].data["name"] == "SkyPilot"
    hook = manager.hooks["skypilot"]
    assert hook is not None
    assert (hook.hook_name, hook.connection_type) == ("SkyPilot", "skypilot")
    assert manager.field_behaviours["skypilot"]["relabeling"]["host"] == "Endpoint"
    assert "sky_orchestrate.airflow.links.SkyClusterLink" in manager.extra_links_class_names


@pytest.mark.parametrize(
    ("connection", "endpoint"),
    [
        pytest.param({"host": "https://sky.example.com/"}, "https://sky.example.com", id="a URL as host"),
        pytest.param({"host": "http://10.0.0.7", "port": 46580}, "http://10.0.0.7:46580", id="a URL and a port"),
        pytest.param({"host": "sky.example.com", "schema": "https", "port": 443}, "https://sky.example.com:443", id="in parts"),
    ],
)
def test_a_connection_names_endpoint_token_and_infra(monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any], endpoint: str) -> None:
    told = {"conn_type": "skypilot", "password": "sky_token", "extra": {"infra": "aws/us-east-1"}, **connection}
    monkeypatch.setenv("AIRFLOW_CONN_TEAM_SKYPILOT", json.dumps(told))
    settings = SkyHook("team_skypilot").settings()
    assert (settings.endpoint, settings.infra) == (endpoint, "aws/us-east-1")
    assert settings.variable("SKYPILOT_SERVICE_ACCOUNT_TOKEN") == "sky_token"
    assert "sky_token" not in repr(settings)


def test_a_connection_that_is_not_there_is_one_clear_line() -> None:
    with pytest.raises(SettingsError, match="conn_id is 'nowhere'"):
        SkyHook("nowhere").settings()


def test_the_test_button_tells_the_servers_version_or_what_is_wrong(sky: Sky, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_TEAM_SKYPILOT", json.dumps({"conn_type": "skypilot", "host": "http://10.0.0.7:46580"}))
    assert SkyHook("team_skypilot").test_connection() == (True, "SkyPilot 0.14.1 at http://10.0.0.7:46580")
    sky.server.answers = False
    works, said = SkyHook("team_skypilot").test_connection()
    assert not works
    assert "does not answer" in said


@pytest.mark.usefixtures("database")
def test_rule_11_a_task_goes_to_its_own_connections_endpoint(sky: Sky, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_TEAM_SKYPILOT", json.dumps({"conn_type": "skypilot", "host": "http://10.0.0.7:46580"}))
    with new_dag() as dag:
        sky_task(conn_id="team_skypilot")
    assert run(dag).state == "success"
    assert set(sky.endpoints) == {"http://10.0.0.7:46580"}
