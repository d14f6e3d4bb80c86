"""What Airflow on this machine needs before its processes start. Run again, it changes nothing that is there."""

from __future__ import annotations

from airflow_local.database import migrate


def prepare() -> None:
    """The database is all of it: the connection to Kubernetes comes from the environment."""
    migrate()


if __name__ == "__main__":
    prepare()
