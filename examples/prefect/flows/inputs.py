"""What a step takes from Prefect at run time: the endpoint from a Variable, secrets from Secret blocks."""

from __future__ import annotations

import os
from collections.abc import Mapping

from prefect.blocks.system import Secret
from prefect.variables import Variable

from sky_orchestrate.errors import SettingsError
from sky_orchestrate.settings import Settings, load_settings

ENDPOINT = "SKYPILOT_API_SERVER_ENDPOINT"
# Prefect 3 takes no capitals in a Variable's name.
VARIABLE = ENDPOINT.lower()


async def settings_for(endpoint: str | None) -> Settings:
    """The settings, at the endpoint of the argument, else the environment, else the local SkyPilot, else the Variable, else .env."""
    settings = load_settings()
    if endpoint or settings.local or os.environ.get(ENDPOINT):
        return settings.at(endpoint)
    variable = await Variable.aget(VARIABLE, default=None)
    return settings.at(str(variable) if variable else None)


async def secret_values(blocks: Mapping[str, str]) -> dict[str, str]:
    """The values of Prefect Secret blocks, by the names the task has for them. Only names of blocks are ever a task's parameters."""
    return {name: await _value(name, block) for name, block in blocks.items()}


async def _value(name: str, block: str) -> str:
    try:
        secret = await Secret.aload(block)
    except ValueError:
        raise SettingsError(
            f"secret {name}: there is no Prefect Secret block {block!r}; make it in the UI under Blocks, or with "
            f"`python -c \"from prefect.blocks.system import Secret; Secret(value=input()).save('{block}')\"`"
        ) from None
    return str(secret.get())
