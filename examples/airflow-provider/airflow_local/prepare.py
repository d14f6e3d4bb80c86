"""Airflow's database as the DAGs want it: migrated, with the connection and the sweep's pool. Run again, it adds what is missing.

Airflow is imported where it is used: its settings come from the environment, and it reads them then.
"""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Mapping

from airflow_local.database import migrate

SWEEP_POOL, SWEEP_SLOTS = "sky_sweep", 3


def prepare() -> None:
    """What exists stays as it is, apart from the database's schema."""
    migrate()
    from airflow.models.connection import Connection
    from airflow.models.pool import Pool
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from sky_orchestrate.airflow.hook import SkyHook

    with create_session() as session:
        if session.scalar(select(Connection).where(Connection.conn_id == SkyHook.default_conn_name)) is None:
            # Without a host: the endpoint of .env holds, unless one is given here.
            session.add(
                Connection(conn_id=SkyHook.default_conn_name, conn_type=SkyHook.conn_type, description="SkyPilot; empty fields are .env's")
            )
        if session.scalar(select(Pool).where(Pool.pool == SWEEP_POOL)) is None:
            # A trial waits in the triggerer, so deferred ones count.
            session.add(Pool(pool=SWEEP_POOL, slots=SWEEP_SLOTS, description="Trials of a sweep at once", include_deferred=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tell", action="store_true", help="say how Airflow is run in production")
    given = parser.parse_args()
    prepare()
    if given.tell:
        print("the database is migrated, with the connection skypilot_default and the pool sky_sweep")
        print("run api-server, scheduler, dag-processor and triggerer, each in a shell of its own, as NAME in:")
        print("\n".join(f"  {line}" for line in commands(os.environ)))


def commands(environ: Mapping[str, str]) -> list[str]:
    """What starts one of Airflow's processes with the settings and keys of this one. What Airflow calls sensitive is named, not shown."""
    from airflow.configuration import conf

    hidden = {f"AIRFLOW__{section}__{key}".upper() for section, key in conf.sensitive_config_values}
    lines = [f"cd {shlex.quote(os.getcwd())}"]
    for name in sorted(name for name in environ if name.startswith("AIRFLOW_")):
        if name in hidden or name.startswith(("AIRFLOW_CONN_", "AIRFLOW_VAR_")):
            lines.append(f"export {name}=...  # as it is set here")
        else:
            lines.append(f"export {name}={shlex.quote(environ[name])}")
    return [*lines, ".venv/bin/airflow NAME"]


if __name__ == "__main__":
    main()
