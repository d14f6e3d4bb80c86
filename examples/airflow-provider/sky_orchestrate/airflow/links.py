"""The button that leads from a task to its cluster in SkyPilot's dashboard."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperatorLink
from airflow.sdk.execution_time.xcom import XCom

from sky_orchestrate.settings import Settings

PAGE = "sky_cluster_page"


def cluster_page(settings: Settings, cluster: str) -> str:
    return f"{settings.endpoint}/dashboard/clusters/{cluster}"


class SkyClusterLink(BaseOperatorLink):
    """The cluster in SkyPilot's dashboard, from the moment the task waits for it."""

    @property
    def name(self) -> str:
        return "SkyPilot cluster"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002  # Airflow's signature
        page = XCom.get_value(ti_key=ti_key, key=PAGE)
        return page if isinstance(page, str) else ""
