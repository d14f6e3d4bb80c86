"""Waits for a task's pod in the triggerer. A triggerer that restarts leaves the pod; the user's cancel takes its cluster down."""

from __future__ import annotations

import asyncio
from typing import Any

from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
from airflow.providers.cncf.kubernetes.triggers.pod import KubernetesPodTrigger

from sky_orchestrate.airflow_pods import ending


class SkyPodTrigger(KubernetesPodTrigger):
    """KubernetesPodTrigger, whose cancel first reaches the command in the pod."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        _, arguments = super().serialize()
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def on_kill(self) -> None:
        """The task was marked, cleared or cancelled by its user. `cleanup` is not for this: it runs when a triggerer restarts too."""
        if self._fired_event:
            return
        await asyncio.to_thread(self._cancel)

    def _cancel(self) -> None:
        hook = KubernetesHook(
            conn_id=self.kubernetes_conn_id,
            in_cluster=self.in_cluster,
            cluster_context=self.cluster_context,
            config_dict=self.config_dict,
        )
        ending.cancel(hook.core_v1_client, self.pod_name, self.pod_namespace)
