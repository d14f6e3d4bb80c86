"""Takes down the clusters of runs that ended or were lost: what kill -9 and power loss leave behind.

It runs outside the worker, on the orchestrator's schedule. It goes by labels alone: its own owner's clusters, not kept on purpose,
whose run the orchestrator itself calls over. A run the orchestrator does not know is left alone and told about.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sky_orchestrate import naming
from sky_orchestrate.cluster import Cluster, SkyClient
from sky_orchestrate.errors import SkyOrchestrateError
from sky_orchestrate.patience import ask
from sky_orchestrate.result import Pace
from sky_orchestrate.teardown import tear_down


@dataclass(frozen=True)
class RunState:
    """What the orchestrator says of a run. `ended_at` is in Unix seconds, None where it does not say."""

    over: bool
    ended_at: float | None = None


@dataclass(frozen=True)
class Reaped:
    """What became of one of our clusters. `action` is left, would take down, taken down or failed."""

    cluster: str
    run: str
    action: str
    reason: str


async def reap(
    client: SkyClient,
    *,
    owner: str,
    run_state: Callable[[str], Awaitable[RunState | None]],
    grace: float,
    dry_run: bool = False,
    pace: Pace = Pace(),
) -> list[Reaped]:
    """Look at every cluster of `owner`, and take down those whose run has been over for `grace` seconds.

    `run_state` is asked with the cluster's `run` label; None is a run the orchestrator does not know.
    """
    await client.server()
    clusters = [cluster for cluster in await ask(pace, client.clusters) if cluster.labels.get("owner") == naming.label(owner)]
    return list(await asyncio.gather(*(_judge(client, cluster, run_state, grace, dry_run=dry_run, pace=pace) for cluster in clusters)))


async def _judge(
    client: SkyClient, cluster: Cluster, run_state: Callable[[str], Awaitable[RunState | None]], grace: float, *, dry_run: bool, pace: Pace
) -> Reaped:
    run = cluster.labels.get("run", "")
    if cluster.labels.get("keep") == "1":
        return Reaped(cluster.name, run, "left", f"kept on purpose; it costs until `sky down {cluster.name}`")
    try:
        state = await run_state(run)
    except Exception as error:  # noqa: BLE001  # whatever an orchestrator's client raises: the other clusters are still looked at
        said = (str(error) or type(error).__name__).splitlines()[0]
        return Reaped(cluster.name, run, "failed", f"the orchestrator did not say what became of its run: {said}")
    if state is None:
        return Reaped(cluster.name, run, "left", "the orchestrator does not know its run; look at it by hand")
    if not state.over:
        return Reaped(cluster.name, run, "left", "its run is live")
    since = cluster.launched_at if state.ended_at is None else state.ended_at
    over_for = time.time() - (since or 0.0)
    if over_for < grace:
        return Reaped(cluster.name, run, "left", f"its run ended {over_for:.0f} s ago, within the grace time of {grace:.0f} s")
    if dry_run:
        return Reaped(cluster.name, run, "would take down", "its run is over")
    try:
        await tear_down(client, cluster.name, pace=pace)
    except SkyOrchestrateError as error:
        return Reaped(cluster.name, run, "failed", str(error))
    return Reaped(cluster.name, run, "taken down", "its run is over")
