"""Airflow's database on this machine, migrated, with the keys that Airflow's processes share. What exists stays as it is."""

from __future__ import annotations

import logging


def prepare() -> None:
    """Airflow is imported here: its settings come from the environment, and it reads them then."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from airflow.configuration import write_default_airflow_configuration_if_needed

    # Each of Airflow's processes would make keys of its own where all of them start at once.
    write_default_airflow_configuration_if_needed()
    from airflow.utils.db import initdb

    initdb()


if __name__ == "__main__":
    prepare()
