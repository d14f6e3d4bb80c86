"""The reaper as a task: takes down clusters whose DAG run ended or was lost."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException

from sky_orchestrate.airflow.hook import SkyHook
from sky_orchestrate.airflow.task_operator import told_to_airflow


class SkyReapOperator(BaseOperator):
    """Look at every cluster of this project, and take down those whose run is over. Fails where one could not be shown to be gone.

    A run's end counts from the cluster's launch: SKY_ORCHESTRATE_REAPER_GRACE seconds after it at the earliest. `dry_run_only` only tells.
    Its XCom is what it did with each cluster.
    """

    template_fields = ("conn_id", "dry_run_only")

    def __init__(self, *, dry_run_only: bool | str = False, conn_id: str = SkyHook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dry_run_only, self.conn_id = dry_run_only, conn_id

    def execute(self, context: Any) -> list[dict[str, str]]:
        # When it runs, not whenever the DAG file is parsed.
        from sky_orchestrate.airflow.run_state import run_states_of
        from sky_orchestrate.patience import ask
        from sky_orchestrate.reaper import Reaped, reap

        hook = SkyHook(self.conn_id)
        settings = told_to_airflow(hook.settings)
        only_tell = str(self.dry_run_only).lower() == "true"

        async def reaped() -> list[Reaped]:
            client = await hook.get_client()
            states = run_states_of(context["ti"], await ask(hook.pace, client.clusters))
            return await reap(
                client, owner=settings.owner, run_state=states, grace=settings.reaper_grace, dry_run=only_tell, pace=hook.pace
            )

        found = told_to_airflow(lambda: asyncio.run(reaped()))
        for one in found:
            self.log.info("%s: %s: %s", one.cluster, one.action, one.reason)
        failed = [one.cluster for one in found if one.action == "failed"]
        if failed:
            raise AirflowException(f"could not be shown to be gone, and may cost money: {', '.join(failed)}")
        return [asdict(one) for one in found]
