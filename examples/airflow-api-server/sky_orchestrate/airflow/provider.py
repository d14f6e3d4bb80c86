"""What Airflow is told of this package: the entry point `apache_airflow_provider` of the project leads here."""

from __future__ import annotations

import re
from typing import Any

from sky_orchestrate.settings import project_name

CONNECTION_FORM: dict[str, Any] = {
    "hidden-fields": ["login", "port", "schema"],
    "relabeling": {"host": "Endpoint", "password": "Service account token"},
    "placeholders": {"host": "http://127.0.0.1:46580", "password": "sky_..."},
}


def get_provider_info() -> dict[str, Any]:
    """The provider's description, by Airflow's schema for it. It goes by the project's own name, which owns the entry point."""
    return {
        "package-name": re.sub(r"[-_.]+", "-", project_name()).lower(),
        "name": "SkyPilot",
        "description": "SkyPilot tasks in Airflow: launched once, their failure told, nothing left running.",
        "connection-types": [
            {
                "connection-type": "skypilot",
                "hook-class-name": "sky_orchestrate.airflow.hook.SkyHook",
                "hook-name": "SkyPilot",
                "conn-fields": {
                    "infra": {
                        "label": "Infra",
                        "description": "Where tasks run, whatever their files say: k8s/context, aws/us-east-1, slurm/cluster",
                        "schema": {"type": ["string", "null"]},
                    }
                },
                "ui-field-behaviour": CONNECTION_FORM,
            }
        ],
        "extra-links": ["sky_orchestrate.airflow.links.SkyClusterLink"],
    }
