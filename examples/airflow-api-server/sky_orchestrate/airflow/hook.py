"""The way to SkyPilot's API server: an Airflow connection of the type `skypilot`, or the project's own settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from sky_orchestrate.errors import SettingsError, SkyOrchestrateError
from sky_orchestrate.result import Pace
from sky_orchestrate.settings import Settings, load_settings

if TYPE_CHECKING:
    from sky_orchestrate.cluster import SkyClient

_TOKEN = "SKYPILOT_SERVICE_ACCOUNT_TOKEN"  # noqa: S105  # its name, not its value


def _connect(settings: Settings) -> SkyClient:
    # DAG files, parsed again and again, import this module; only a task that runs needs the core.
    from sky_orchestrate.client import connect

    return connect(settings)


class SkyHook(BaseHook):
    """SkyPilot at a connection: `host` is the endpoint's URL, `password` a service account's token, and extra's `infra` where tasks run.

    Without a connection named `skypilot_default` the project's settings (environment, .env) hold. A process keeps to the first endpoint.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "skypilot_default"
    conn_type = "skypilot"
    hook_name = "SkyPilot"

    connect_to: ClassVar[Callable[[Settings], SkyClient]] = staticmethod(_connect)
    pace: ClassVar[Pace] = Pace()
    # One client for all that wait in a triggerer's loop: what a client may have under way at once is counted in it.
    _clients: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, SkyClient]]] = WeakKeyDictionary()

    def __init__(self, conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        from sky_orchestrate.airflow.provider import CONNECTION_FORM

        return CONNECTION_FORM

    def settings(self) -> Settings:
        """The project's settings with the connection's over them. Asks Airflow, so it blocks. Raises SettingsError."""
        settings = load_settings()
        try:
            connection = self.get_connection(self.conn_id)
        except AirflowNotFoundException:
            if self.conn_id == self.default_conn_name:
                return settings
            raise SettingsError(
                f"conn_id is {self.conn_id!r}, and Airflow has no connection of that name; add it, or leave it out"
            ) from None
        settings = settings.at(_endpoint(connection))
        if connection.password:
            settings = replace(settings, variables={**settings.variables, _TOKEN: connection.password})
        infra = str(connection.extra_dejson.get("infra") or "")
        return replace(settings, infra=infra) if infra else settings

    def client(self, settings: Settings) -> SkyClient:
        """The client of the running event loop. Raises EndpointChanged."""
        clients = self._clients.setdefault(asyncio.get_running_loop(), {})
        if settings.endpoint not in clients:
            clients[settings.endpoint] = type(self).connect_to(settings)
        return clients[settings.endpoint]

    async def get_client(self) -> SkyClient:
        """A client at a server that answers. Raises SettingsError and EndpointError kinds."""
        client = self.client(await asyncio.to_thread(self.settings))
        await client.server()
        return client

    def get_conn(self) -> SkyClient:
        """The client; call it where an event loop runs."""
        return self.client(self.settings())

    def test_connection(self) -> tuple[bool, str]:
        """What the button Test of the connection's form says."""

        async def asked() -> str:
            server = await self.client(settings).server()
            return f"SkyPilot {server.version} at {settings.endpoint}" + (f", as {server.user}" if server.user else "")

        try:
            settings = self.settings()
            return True, asyncio.run(asked())
        except SkyOrchestrateError as error:
            return False, str(error)


def _endpoint(connection: Any) -> str | None:
    """A URL as host, or the parts that a connection given as a URI comes in."""
    host, port = str(connection.host or ""), connection.port
    if not host:
        return None
    url = host if "://" in host else f"{connection.schema or 'http'}://{host}"
    return f"{url}:{port}" if port else url
