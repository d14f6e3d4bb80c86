"""Airflow's database on this machine, and the keys that Airflow's processes share."""

from __future__ import annotations

import logging


def migrate() -> None:
    """What exists stays as it is, apart from the schema.

    Airflow is imported here: its settings come from the environment, and it reads them then.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from airflow.configuration import write_default_airflow_configuration_if_needed

    # The keys by which Airflow's processes know each other. Each would make its own where all of them start at once.
    write_default_airflow_configuration_if_needed()
    from airflow.utils.db import initdb

    initdb()
