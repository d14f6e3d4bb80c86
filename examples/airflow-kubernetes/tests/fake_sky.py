"""A SkyPilot API server in memory, for tests that need no cluster.

It keeps to what was measured on SkyPilot 0.14.1: a launch on an existing cluster adds a job, `down` without a record finds nothing
and the launch still comes up, a cancelled launch leaves its cluster INIT, records outlive clusters until refreshed. The contract
suite runs against this and against the real server, so that this cannot drift. Jobs are shell scripts of `echo`, `sleep` and `exit`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sky_orchestrate import errors
from sky_orchestrate.cluster import Cluster, Job, JobStatus, Request, Server
from sky_orchestrate.launch_config import launch_config
from sky_orchestrate.task import TaskSpec
from tests.fake_cluster import FakeCluster, FakeJob


@dataclass(frozen=True)
class Speed:
    """Seconds of the server's doings, and what one second of a job's `sleep` lasts."""

    launch: float = 0.02
    exec: float = 0.01
    down: float = 0.01
    second: float = 0.01


@dataclass
class FakeRequest:
    id: str
    kind: str
    cluster: str
    ended: asyncio.Future[int | None]
    work: asyncio.Task[None] | None = None


class FakeServer:
    """The server's state, shared by all its clients."""

    def __init__(self, speed: Speed = Speed()) -> None:
        self.speed = speed
        self.clusters: dict[str, FakeCluster] = {}
        self.requests: dict[str, FakeRequest] = {}
        self.on_cluster: defaultdict[str, list[FakeRequest]] = defaultdict(list)
        self.answers = True
        self.capacity = True
        self.lost_answers = 0
        self.late_reasons = False
        self.cut_streams_after: list[int] = []
        self.streams_allowed = 128
        self.log: list[str] = []
        self.submissions: list[str] = []
        self.bodies: list[str] = []
        self._ids = itertools.count(1)

    def client(self, *, streams: int = 16, launches: int = 4) -> FakeSky:
        return FakeSky(self, streams=streams, launches=launches)

    @property
    def left(self) -> list[str]:
        """Clusters that cost money, and unfinished requests."""
        alive = [cluster.name for cluster in self.clusters.values() if cluster.exists]
        return alive + [f"{request.kind} of {request.cluster}" for request in self.active()]

    def active(self, cluster: str | None = None) -> list[FakeRequest]:
        requests = self.requests.values() if cluster is None else self.on_cluster[cluster]
        return [request for request in requests if not request.ended.done()]

    def restart(self) -> None:
        """As a local server's restart: its requests are forgotten, clusters and jobs go on."""
        for request in list(self.requests.values()):
            if request.work is not None:
                request.work.cancel()
            if not request.ended.done():
                request.ended.set_exception(errors.EndpointUnreachable("the server went away"))
                request.ended.exception()
        self.requests.clear()
        self.on_cluster.clear()

    def submit(self, kind: str, cluster: str, work: Callable[[FakeRequest], asyncio.Task[None]]) -> FakeRequest:
        request = FakeRequest(f"request-{next(self._ids)}", kind, cluster, asyncio.get_running_loop().create_future())
        self.requests[request.id] = request
        self.on_cluster[cluster].append(request)
        self.log.append(f"{kind} {cluster}")
        request.work = work(request)
        return request


class FakeSky:
    """One client of the server: `SkyClient` in memory."""

    def __init__(self, server: FakeServer, *, streams: int = 16, launches: int = 4) -> None:
        self._server = server
        self._streams = streams
        self._launches = asyncio.Semaphore(launches)

    def _reach(self) -> None:
        if not self._server.answers:
            raise errors.EndpointUnreachable("SkyPilot's API server at fake does not answer")

    async def server(self) -> Server:
        self._reach()
        return Server("0.14.1", 62)

    @asynccontextmanager
    async def launching(self) -> AsyncIterator[None]:
        async with self._launches:
            yield

    async def launch(
        self,
        task: TaskSpec,
        cluster_name: str,
        *,
        job_name: str,
        labels: Mapping[str, str],
        idle_minutes: int | None,
        wait_for_capacity: bool,
    ) -> str:
        self._reach()
        config = launch_config(task, job_name=job_name, labels=labels)
        self._server.bodies.append(repr(config))

        async def work(request: FakeRequest) -> None:
            await asyncio.sleep(0)
            if cluster_name not in self._server.clusters:
                self._server.clusters[cluster_name] = FakeCluster(cluster_name, dict(labels), exists=False)
            cluster = self._server.clusters[cluster_name]
            while wait_for_capacity and not self._server.capacity:
                await asyncio.sleep(self._server.speed.launch)
            if not self._server.capacity:
                del self._server.clusters[cluster_name]
                raise errors.SkyNoCapacity("no resources available")
            cluster.exists, cluster.autodown = True, idle_minutes
            await asyncio.sleep(self._server.speed.launch)
            cluster.status, cluster.ready = "UP", True
            request.ended.set_result(self._start(cluster, job_name, config, task))

        return await self._sent("launch", cluster_name, work)

    async def exec(self, task: TaskSpec, cluster_name: str, *, job_name: str) -> str:
        self._reach()
        config = launch_config(task, job_name=job_name, labels={})

        async def work(request: FakeRequest) -> None:
            await asyncio.sleep(self._server.speed.exec)
            config.pop("setup", None)
            request.ended.set_result(self._start(self._up(cluster_name), job_name, config, task))

        return await self._sent("exec", cluster_name, work)

    async def _sent(self, kind: str, cluster: str, work: Callable[[FakeRequest], Awaitable[None]]) -> str:
        async def carried(request: FakeRequest) -> None:
            try:
                await work(request)
            except asyncio.CancelledError:
                if not request.ended.done():
                    request.ended.set_exception(errors.LaunchError("the request was cancelled on the server"))
                    request.ended.exception()
            except errors.SkyOrchestrateError as error:
                if not request.ended.done():
                    request.ended.set_exception(error)
                    request.ended.exception()

        request = self._server.submit(kind, cluster, lambda request: asyncio.ensure_future(carried(request)))
        if self._server.lost_answers > 0:
            self._server.lost_answers -= 1
            raise errors.AmbiguousSubmission(f"{kind} {cluster}: no answer")
        return request.id

    def _start(self, cluster: FakeCluster, name: str, config: Mapping[str, Any], task: TaskSpec) -> int:
        envs = {**(config.get("envs") or {}), **task.secrets}
        job = FakeJob(len(cluster.jobs) + 1, name, str(config.get("setup") or ""), str(config.get("run") or ""), envs)
        busy = [other.work for other in cluster.jobs if other.status.live and other.work is not None]
        cluster.jobs.append(job)
        self._server.submissions.append(name)
        job.work = asyncio.ensure_future(job.play(busy, self._server.speed.second))
        return job.id

    async def submitted_job(self, request_id: str, cluster_name: str) -> int:
        self._reach()
        request = self._server.requests.get(request_id)
        if request is None:
            raise errors.RequestLost(f"the server no longer knows {request_id}")
        job = await asyncio.shield(request.ended)
        if job is None:
            raise errors.LaunchRejected("no job")
        return job

    async def active_requests(self, cluster_name: str) -> Sequence[Request]:
        self._reach()
        return [Request(request.id, request.kind) for request in self._server.active(cluster_name)]

    async def cancel_requests(self, requests: Sequence[Request]) -> None:
        self._reach()
        for request in requests:
            known = self._server.requests.get(request.id)
            if known is not None and known.work is not None:
                known.work.cancel()
        await asyncio.sleep(0)

    async def request_ended(self, request: Request) -> None:
        known = self._server.requests.get(request.id)
        if known is not None:
            await asyncio.wait([known.ended])

    async def cluster(self, name: str, *, refresh: bool = False) -> Cluster | None:
        found = await self._records([name], refresh=refresh)
        return found[0] if found else None

    async def clusters(self, *, refresh: bool = False) -> Sequence[Cluster]:
        return await self._records(list(self._server.clusters), refresh=refresh)

    async def _records(self, names: Sequence[str], *, refresh: bool) -> list[Cluster]:
        self._reach()
        await asyncio.sleep(0)
        known = self._server.clusters
        for name in names if refresh else ():
            if name in known and not known[name].exists and not self._server.active(name):
                del known[name]
        return [known[name].record() for name in names if name in known]

    async def queue(self, cluster_name: str) -> Sequence[Job]:
        self._reach()
        return [job.record() for job in self._up(cluster_name).jobs]

    async def job_status(self, cluster_name: str, job_id: int) -> JobStatus | None:
        self._reach()
        self._server.log.append(f"job_status {cluster_name}")
        jobs = self._up(cluster_name).jobs
        return next((job.status for job in jobs if job.id == job_id), None)

    async def cancel_job(self, cluster_name: str, job_id: int) -> None:
        self._reach()
        for job in self._up(cluster_name).jobs:
            if job.id == job_id and job.work is not None:
                job.work.cancel()
                await asyncio.wait([job.work])
                job.end(JobStatus.CANCELLED)

    def _up(self, name: str) -> FakeCluster:
        cluster = self._server.clusters.get(name)
        if cluster is None or not cluster.exists or not cluster.ready or cluster.status != "UP":
            raise errors.ClusterGone(f"Cluster {name!r} does not exist or is not up.")
        return cluster

    async def tail_logs(self, cluster_name: str, job_id: int, on_line: Callable[[str], None], *, follow: bool = True) -> int | None:
        self._reach()
        if self._streams <= 0 or self._server.streams_allowed <= 0:
            raise errors.StreamRefused("no log stream is free")
        self._streams -= 1
        self._server.log.append(f"logs {cluster_name}")
        cut_after = self._server.cut_streams_after.pop(0) if self._server.cut_streams_after else None
        try:
            cluster = self._up(cluster_name)
            job = next((job for job in cluster.jobs if job.id == job_id), None)
            if job is None:
                return 102
            shown = 0
            while True:
                changed = job.changed
                while shown < len(job.lines):
                    if cut_after is not None and shown >= cut_after:
                        raise errors.EndpointUnreachable("the stream was cut")
                    if not (follow and self._server.late_reasons and "return code list" in job.lines[shown]):
                        on_line(job.lines[shown])
                    shown += 1
                if not job.status.live:
                    codes = {JobStatus.SUCCEEDED: 0, JobStatus.CANCELLED: 103}
                    return codes.get(job.status, 100)
                if not follow:
                    return 101
                await changed.wait()
                if not cluster.exists:
                    raise errors.EndpointUnreachable("the connection to the cluster broke")
                self._reach()
        finally:
            self._streams += 1

    async def ssh_options(self, cluster_name: str) -> Sequence[str]:
        self._reach()
        return ["-F", f"/ssh/{self._up(cluster_name).name}"]

    async def down(self, cluster_name: str) -> None:
        self._reach()
        cluster = self._server.clusters.get(cluster_name)
        if cluster is None:
            self._server.log.append(f"down {cluster_name}")
            raise errors.ClusterGone(f"Cluster {cluster_name!r} does not exist.")

        async def work(request: FakeRequest) -> None:
            # A down of a cluster with a record ends the launch that is under way on it.
            for launch in self._server.active(cluster_name):
                if launch is not request and launch.work is not None and launch.kind != "down":
                    launch.work.cancel()
            await asyncio.sleep(self._server.speed.down)
            cluster.lose()
            self._server.clusters.pop(cluster_name, None)
            request.ended.set_result(None)

        request = self._server.submit("down", cluster_name, lambda request: asyncio.ensure_future(work(request)))
        await asyncio.shield(request.ended)
