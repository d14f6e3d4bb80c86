"""A task on your Kubernetes cluster, whatever infra the project is set to. `sky check kubernetes` tells whether SkyPilot reaches it.

python -m flows.examples.sky_k8s_example
"""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import flow

from flows.cancellation import take_down_rest
from flows.sky_train_flow import run_sky_task

TASK = """
name: k8s-training
resources:
  infra: k8s
  cpus: 2+
envs:
  GREETING: hello
run: |
  set -euo pipefail
  echo "$GREETING from pod $(hostname)"
  if command -v nvidia-smi; then nvidia-smi; fi
  echo "::sky-output::{\\"pod\\": \\"$(hostname)\\"}"
"""


@flow(name="sky_k8s_example", on_cancellation=[take_down_rest])
async def sky_k8s_example(
    context: str | None = None, accelerators: str | None = None, api_server_endpoint: str | None = None
) -> dict[str, Any]:
    """Run a pod in the kubeconfig's `context` (by default its current one), with `accelerators` such as H100:1."""
    result = await run_sky_task(
        task_yaml=TASK,
        infra=f"k8s/{context}" if context else "k8s",
        resources={"accelerators": accelerators} if accelerators else None,
        # No pod in this time: no node has room. Retried, for another may come up.
        provision_timeout=15 * 60,
        api_server_endpoint=api_server_endpoint,
    )
    return result["outputs"]


if __name__ == "__main__":
    asyncio.run(sky_k8s_example())
