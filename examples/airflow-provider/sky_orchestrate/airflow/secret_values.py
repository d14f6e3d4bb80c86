"""Secrets by name: what a task calls them, and where this worker or triggerer finds their values."""

from __future__ import annotations

from collections.abc import Mapping

from airflow.sdk import BaseHook, Variable
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from sky_orchestrate.errors import SettingsError
from sky_orchestrate.settings import Settings


def secret_values(names: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """The values by the task's names for them, kept out of Airflow's logs from here on. Asks Airflow, so it blocks.

    Each of `names` leads to a variable of the environment or .env, an Airflow Variable, or the password of an Airflow Connection, the
    first there is. Raises SettingsError for one that is none of these.
    """
    values = {name: settings.variable(source) or _variable(source) or _password(source) for name, source in names.items()}
    for name, value in values.items():
        if not value:
            raise SettingsError(
                f"secret {name}: {names[name]} is not in the environment or .env, no Airflow Variable, and no Connection's password"
            )
        mask_secret(value)
    return values


def _variable(name: str) -> str:
    return str(Variable.get(name, default=None) or "")


def _password(name: str) -> str:
    try:
        return BaseHook.get_connection(name).password or ""
    except AirflowNotFoundException:
        return ""
