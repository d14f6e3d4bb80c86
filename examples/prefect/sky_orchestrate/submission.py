"""Getting one job of our name onto the cluster, whoever tried before: look first, attach, adopt or submit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sky_orchestrate import errors
from sky_orchestrate.cluster import Cluster, Job, JobStatus, SkyClient
from sky_orchestrate.patience import ask, jitter, within
from sky_orchestrate.result import Limits, Pace
from sky_orchestrate.task import TaskSpec

T = TypeVar("T")

# A launch that a restart of the server cut off leaves a cluster that counts as up and has no queue; told so often, another launch mends it.
_UNREADY = 3


@dataclass(frozen=True)
class Placement:
    """Where a step runs: the cluster's name and the job's. `shared` says that other steps run there too."""

    cluster: str
    job: str
    shared: bool


@dataclass(frozen=True)
class Submitted:
    """Our job on the cluster. `found` says that an earlier attempt submitted it; `started_at` is in Unix seconds.

    `first`: no job came between the look at the queue and ours, so that ours is the lowest of its name.
    """

    job_id: int
    found: bool = False
    first: bool = False
    started_at: float | None = None


@dataclass(frozen=True)
class Launch:
    """How a cluster is launched where there is none."""

    labels: Mapping[str, str]
    idle_minutes: int | None
    wait_for_capacity: bool


class Submission:
    """One attempt's way to a submitted job. `sending` is the launch under way, for a teardown that must outlast it."""

    def __init__(
        self, client: SkyClient, task: TaskSpec, place: Placement, launch: Launch, *, limits: Limits, pace: Pace, say: Callable[[str], None]
    ) -> None:
        self._client, self._task, self._place, self._launch = client, task, place, launch
        self._limits, self._pace, self._say = limits, pace, say
        self.sending: asyncio.Future[str] | None = None

    async def submitted(self) -> Submitted:
        """Our job, attached to, adopted or submitted. Raises LaunchError kinds, SkyProvisionTimeout and EndpointError kinds."""
        give_up = time.monotonic() + self._pace.patience
        reserved: set[int] = set()
        while True:
            cluster, queue = await self._settled()
            # A launch reserves its job's id, and is under way for as long as the job is INIT. Seen so twice with no launch under way,
            # the job was cut off from it, and will never run.
            seen = {job.id for job in queue if job.status is JobStatus.INIT}
            if seen - reserved:
                reserved |= seen
                continue
            jobs = [job for job in queue if job.id not in seen]
            ours = survivor(jobs, self._place.job)
            if ours is not None:
                return ours
            if await self._others_run(jobs):
                continue
            try:
                job_id = await self._submit(cluster, jobs)
                return Submitted(job_id, first=job_id <= max((job.id for job in queue), default=0) + 1)
            except (errors.AmbiguousSubmission, errors.RequestLost, errors.EndpointUnreachable) as error:
                if time.monotonic() > give_up:
                    raise
                self._say(f"{error}; looking before sending again")
                await asyncio.sleep(jitter(self._pace.retry, 2 * self._pace.retry))

    async def sent(self) -> None:
        """After a cancel: wait for the answer to a launch that is on its way, so that a teardown elsewhere finds it."""
        if self.sending is not None and not self.sending.done():
            await asyncio.wait([self.sending], timeout=self._pace.answer)

    async def _settled(self) -> tuple[Cluster | None, Sequence[Job]]:
        """The cluster and its queue, once nothing is being done to it; no cluster where there is none that runs."""
        name = self._place.cluster
        unready = 0
        while True:
            requests = await ask(self._pace, lambda: self._client.active_requests(name))
            for request in requests:
                self._say(f"a {request.kind} of {name} is under way: waiting for it")
                limit = self._pace.teardown if request.kind == "down" else self._limits.provision
                await self._within(limit, self._outlast(request.id, lambda request=request: self._client.request_ended(request)))
            if requests:
                continue
            cluster = await ask(self._pace, lambda: self._client.cluster(name))
            if cluster is None or not cluster.up:
                return cluster, ()
            try:
                return cluster, await ask(self._pace, lambda: self._client.queue(name))
            except errors.ClusterGone:
                # The record may outlive its cluster (autodown, preemption): the infra itself is asked, which mends the record.
                refreshed = await ask(self._pace, lambda: self._client.cluster(name, refresh=True))
                unready += 1
                if refreshed is None or not refreshed.up or unready == _UNREADY:
                    return refreshed, ()
                await asyncio.sleep(jitter(self._pace.retry, 2 * self._pace.retry))

    async def _others_run(self, jobs: Sequence[Job]) -> bool:
        """On a shared cluster the previous step's job ends first: a launch beside it would set the machine up under it."""
        live = [job for job in jobs if job.status.live]
        if not live:
            return False
        self._say(f"job {live[0].id} ({live[0].name}) still runs on {self._place.cluster}: waiting for it")
        await asyncio.sleep(jitter(*self._pace.poll))
        return True

    async def _submit(self, cluster: Cluster | None, jobs: Sequence[Job]) -> int:
        async with self._client.launching():
            return await self._within(self._limits.provision, self._sent_and_taken(cluster, jobs))

    async def _sent_and_taken(self, cluster: Cluster | None, jobs: Sequence[Job]) -> int:
        # Shielded: a launch cannot be unsent, and a teardown has to know that one is on its way.
        self.sending = asyncio.ensure_future(self._send(cluster, jobs))
        request = await asyncio.shield(self.sending)
        return await self._outlast(request, lambda: self._client.submitted_job(request, self._place.cluster))

    async def _within(self, limit: float | None, work: Coroutine[Any, Any, T]) -> T:
        try:
            async with within(limit):
                return await work
        except asyncio.TimeoutError as error:
            raise errors.SkyProvisionTimeout(f"{self._place.cluster} was not up within the limit of {limit:g} s") from error

    async def _send(self, cluster: Cluster | None, jobs: Sequence[Job]) -> str:
        name, job = self._place.cluster, self._place.job
        set_up = any(job.status is JobStatus.SUCCEEDED for job in jobs)
        if cluster is not None and cluster.up and set_up and cluster.labels.get("setup") == self._task.setup_digest:
            self._say(f"running {self._task.name} on {name}, which is set up for it")
            return await self._client.exec(self._task, name, job_name=job)
        self._say(f"launching {name} for {self._task.name} ({self._task.source})")
        return await self._client.launch(
            self._task,
            name,
            job_name=job,
            labels=self._launch.labels,
            idle_minutes=self._launch.idle_minutes,
            wait_for_capacity=self._launch.wait_for_capacity,
        )

    async def _outlast(self, request: str, wait: Callable[[], Any]) -> Any:
        """Wait for a request as long as the server counts it as unfinished: a dead one can be asked for forever."""
        waiting = asyncio.ensure_future(wait())
        missing = 0
        try:
            while missing < 2:
                done, _ = await asyncio.wait([waiting], timeout=jitter(*self._pace.health))
                if done:
                    return waiting.result()
                active = await ask(self._pace, lambda: self._client.active_requests(self._place.cluster))
                missing = 0 if any(row.id == request for row in active) else missing + 1
            raise errors.RequestLost(f"the server no longer lists request {request} on {self._place.cluster}")
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)


async def sole_survivor(client: SkyClient, place: Placement, submitted: Submitted, *, pace: Pace, say: Callable[[str], None]) -> Submitted:
    """After a launch: where two deliveries submitted at once, the lowest live job stays and the others are cancelled."""
    jobs = await ask(pace, lambda: client.queue(place.cluster))
    keep = survivor(jobs, place.job) or submitted
    for job in jobs:
        if job.name == place.job and job.status.live and job.id != keep.job_id:
            say(f"job {job.id} on {place.cluster} doubles job {keep.job_id}: cancelling it")
            await ask(pace, lambda job=job: client.cancel_job(place.cluster, job.id))
    return keep


def survivor(jobs: Sequence[Job], name: str) -> Submitted | None:
    """Our job among `jobs`: one that succeeded is adopted, else the lowest live one is attached to; failed ones do not count."""
    ours = sorted((job for job in jobs if job.name == name), key=lambda job: job.id)
    for job in ours:
        if job.status is JobStatus.SUCCEEDED:
            return Submitted(job.id, found=True, started_at=job.started_at)
    for job in ours:
        if job.status.live:
            return Submitted(job.id, found=True, started_at=job.started_at)
    return None
