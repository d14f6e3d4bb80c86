"""The way to Temporal's server, as the environment and .env describe it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from sky_orchestrate.errors import SettingsError
from sky_orchestrate.settings import Settings
from temporal.connection import DEFAULT_ADDRESS, TemporalUnreachable, connect_temporal
from temporal.encryption import EncryptionCodec
from tests.temporal.dev_server import free_ports
from tests.temporal.test_encryption import KEY


def settings(**variables: str) -> Settings:
    return Settings(root=Path(), slug="proj", owner="proj", variables=variables)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither variables nor a configuration file of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith(("TEMPORAL_", "OTEL_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What Client.connect is called with."""
    told: dict[str, Any] = {}

    async def connect(**given: Any) -> None:
        told.update(given)

    monkeypatch.setattr(Client, "connect", connect)
    return told


async def test_without_variables_the_local_server_is_meant(asked: dict[str, Any]) -> None:
    await connect_temporal(settings())
    assert asked["target_host"] == DEFAULT_ADDRESS
    assert asked["data_converter"].payload_codec is None
    assert asked["interceptors"] == ()


async def test_address_namespace_and_api_key_are_read_from_the_env_file(asked: dict[str, Any]) -> None:
    said = {"TEMPORAL_ADDRESS": "team.tmprl.cloud:7233", "TEMPORAL_NAMESPACE": "team.prod", "TEMPORAL_API_KEY": "key-123"}
    await connect_temporal(settings(**said))
    assert (asked["target_host"], asked["namespace"], asked["api_key"]) == ("team.tmprl.cloud:7233", "team.prod", "key-123")
    # An API key never goes over an open line.
    assert asked["tls"]


async def test_the_environment_comes_before_the_env_file(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "from.environment:7233")
    await connect_temporal(settings(TEMPORAL_ADDRESS="from.file:7233"))
    assert asked["target_host"] == "from.environment:7233"


async def test_an_empty_variable_is_none(asked: dict[str, Any]) -> None:
    await connect_temporal(settings(TEMPORAL_ADDRESS="", TEMPORAL_API_KEY="", TEMPORAL_NAMESPACE=""))
    assert asked["target_host"] == DEFAULT_ADDRESS
    assert not asked.get("api_key")


async def test_tls_is_taken_from_files(asked: dict[str, Any], tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_text(f"the {name}")
    said = {
        "TEMPORAL_TLS": "true",
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(tmp_path / "ca"),
        "TEMPORAL_TLS_CLIENT_CERT_PATH": str(tmp_path / "cert"),
        "TEMPORAL_TLS_CLIENT_KEY_PATH": str(tmp_path / "key"),
        "TEMPORAL_TLS_SERVER_NAME": "temporal.team",
    }
    await connect_temporal(settings(**said))
    tls = asked["tls"]
    assert (tls.server_root_ca_cert, tls.client_cert, tls.client_private_key) == (b"the ca", b"the cert", b"the key")
    assert tls.domain == "temporal.team"


async def test_a_key_turns_encryption_on(asked: dict[str, Any]) -> None:
    await connect_temporal(settings(TEMPORAL_ENCRYPTION_KEY=KEY))
    assert isinstance(asked["data_converter"].payload_codec, EncryptionCodec)


async def test_a_wrong_key_is_one_clear_line(asked: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"^TEMPORAL_ENCRYPTION_KEY would be right as"):
        await connect_temporal(settings(TEMPORAL_ENCRYPTION_KEY="hunter2"))
    assert asked == {}


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({"TEMPORAL_TLS_CLIENT_CERT_PATH": "nowhere.pem"}, id="certificate"),
        pytest.param({"TEMPORAL_PROFILE": "nobody"}, id="profile"),
        pytest.param({"TEMPORAL_CONFIG_FILE": "nowhere.toml", "TEMPORAL_PROFILE": "nobody"}, id="configuration file"),
    ],
)
async def test_settings_that_cannot_be_read_are_one_clear_line(variables: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as told:
        await connect_temporal(settings(**variables))
    assert "TEMPORAL" in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "no-such-host.invalid:7233", "not an address"])
async def test_an_address_where_nothing_answers_is_one_clear_line(address: str) -> None:
    told_address = address.format(port=free_ports(1)[0])
    with pytest.raises(SettingsError) as told:
        await connect_temporal(settings(TEMPORAL_ADDRESS=told_address))
    assert isinstance(told.value, TemporalUnreachable)
    assert told_address in str(told.value)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400


async def test_a_server_without_tls_refuses_a_client_with_it_in_one_line(address: str) -> None:
    with pytest.raises(TemporalUnreachable, match=f"Temporal at {address} does not answer"):
        await connect_temporal(settings(TEMPORAL_ADDRESS=address, TEMPORAL_TLS="true"))


async def test_tracing_without_its_packages_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(SettingsError, match=r"add temporalio\[opentelemetry\] and opentelemetry-exporter-otlp to requirements\.in"):
        await connect_temporal(settings(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4317"))
