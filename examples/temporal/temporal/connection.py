"""The way to Temporal's server: its address, TLS or API key, encryption of payloads and tracing, all from the environment or .env.

The variables are those of Temporal's own tools (temporalio.envconfig): TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY,
TEMPORAL_TLS and so on, and TEMPORAL_PROFILE of its configuration file.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from temporalio.client import Client, Interceptor
from temporalio.converter import DataConverter
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime
from temporalio.service import RPCError

from sky_orchestrate.errors import SettingsError
from sky_orchestrate.settings import Settings
from temporal.encryption import encrypting

DEFAULT_ADDRESS = "127.0.0.1:7233"
TRACES = "OTEL_EXPORTER_OTLP_ENDPOINT"


class TemporalUnreachable(SettingsError):
    """Nothing answers at Temporal's address, or it refuses us."""

    retryable = True


async def connect_temporal(settings: Settings, *, runtime: Runtime | None = None) -> Client:
    """A client. Raises TemporalUnreachable in one line."""
    variables = {**settings.variables, **os.environ}
    variables = {name: value for name, value in variables.items() if value}
    try:
        config: Any = ClientConfig.load_client_connect_config(override_env_vars=variables)
    except Exception as error:
        raise SettingsError(f"Temporal's settings (TEMPORAL_*) cannot be read: {error}") from error
    config.setdefault("target_host", DEFAULT_ADDRESS)
    address = config["target_host"]
    try:
        return await Client.connect(**config, data_converter=data_converter(settings), interceptors=interceptors(settings), runtime=runtime)
    except (RuntimeError, ValueError, RPCError) as error:
        reason = str(error).splitlines()[0]
        raise TemporalUnreachable(
            f"Temporal at {address} does not answer: {reason}; start one with `make ui`, or correct TEMPORAL_ADDRESS"
        ) from error


@contextmanager
def refusals_told() -> Iterator[None]:
    """What Temporal refuses, or does not answer, leaves as one line. A worker tells of both with a RuntimeError."""
    try:
        yield
    except (RPCError, RuntimeError) as error:
        raise TemporalUnreachable(f"Temporal refuses, or does not answer: {(str(error) or 'no reason told').splitlines()[0]}") from error


def leave(code: int) -> NoReturn:
    """End this process. A thread of Temporal's client that has just told of something must first be out of Python, or it aborts."""
    time.sleep(0.2)
    sys.exit(code)


def data_converter(settings: Settings) -> DataConverter:
    """Temporal's own, or with TEMPORAL_ENCRYPTION_KEY one that keeps every payload from the server."""
    key = settings.variable("TEMPORAL_ENCRYPTION_KEY")
    return encrypting(key) if key else DataConverter.default


def interceptors(settings: Settings) -> Sequence[Interceptor]:
    """Traces where OTEL_EXPORTER_OTLP_ENDPOINT says where to send them."""
    if not settings.variable(TRACES):
        return ()
    from temporal.tracing import tracing

    return (tracing(settings),)
