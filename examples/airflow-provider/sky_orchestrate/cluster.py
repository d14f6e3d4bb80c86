"""What SkyPilot tells of clusters, jobs and requests, as plain data, and the surface through which it is asked.

The runner and the reaper know only this. `client.Client` implements it on SkyPilot's SDK, tests implement it in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from sky_orchestrate.task import TaskSpec


class JobStatus(str, Enum):
    """SkyPilot's job states (sky.skylet.job_lib.JobStatus), by the same names."""

    INIT = "INIT"
    PENDING = "PENDING"
    SETTING_UP = "SETTING_UP"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    FAILED_SETUP = "FAILED_SETUP"
    FAILED_DRIVER = "FAILED_DRIVER"
    CANCELLED = "CANCELLED"

    @property
    def live(self) -> bool:
        return self in (JobStatus.INIT, JobStatus.PENDING, JobStatus.SETTING_UP, JobStatus.RUNNING)

    @property
    def waiting(self) -> bool:
        """Submitted, and neither its setup nor its command has begun."""
        return self in (JobStatus.INIT, JobStatus.PENDING)


@dataclass(frozen=True)
class Job:
    """A job in a cluster's queue. Times are Unix seconds."""

    id: int
    name: str
    status: JobStatus
    started_at: float | None = None
    ended_at: float | None = None


@dataclass(frozen=True)
class Cluster:
    """A cluster as SkyPilot records it. `status` is INIT, UP, STOPPED or another of SkyPilot's words; times are Unix seconds."""

    name: str
    status: str
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    launched_at: float | None = None
    infra: str = ""

    @property
    def up(self) -> bool:
        return self.status == "UP"


@dataclass(frozen=True)
class Request:
    """An unfinished request on the server. `kind` is launch, exec or down."""

    id: str
    kind: str


@dataclass(frozen=True)
class Server:
    """The API server's answer to a health check."""

    version: str
    api_version: int
    user: str = ""


class SkyClient(Protocol):
    """One SkyPilot API server, asked asynchronously. Every call raises only SkyOrchestrateError kinds."""

    async def server(self) -> Server:
        """Health and version. Raises EndpointUnreachable, EndpointRefused or EndpointIncompatible."""
        ...

    def launching(self) -> AbstractAsyncContextManager[None]:
        """One of the process's few places for a launch under way: hundreds at once have crashed API servers."""
        ...

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
        """Send a launch with autodown armed, and return the request's id. Raises AmbiguousSubmission where no answer came."""
        ...

    async def exec(self, task: TaskSpec, cluster_name: str, *, job_name: str) -> str:
        """Send the task to a cluster that is up, without setup and file mounts; returns the request's id."""
        ...

    async def submitted_job(self, request_id: str, cluster_name: str) -> int:
        """Wait for a launch or exec on that cluster, and return the job's id. Raises LaunchError kinds and RequestLost."""
        ...

    async def active_requests(self, cluster_name: str) -> Sequence[Request]:
        """The unfinished launch, exec and down requests on a cluster's name, whoever sent them."""
        ...

    async def cancel_requests(self, requests: Sequence[Request]) -> None: ...

    async def request_ended(self, request: Request) -> None:
        """Wait until a request has ended, however it ended; one the server no longer knows has."""
        ...

    async def cluster(self, name: str, *, refresh: bool = False) -> Cluster | None:
        """The cluster of that name, whoever launched it; `refresh` asks the infra itself."""
        ...

    async def clusters(self, *, refresh: bool = False) -> Sequence[Cluster]: ...

    async def queue(self, cluster_name: str) -> Sequence[Job]:
        """All users' jobs on the cluster, finished ones too. Raises ClusterGone."""
        ...

    async def job_status(self, cluster_name: str, job_id: int) -> JobStatus | None:
        """None where the cluster does not know the job. Raises ClusterGone."""
        ...

    async def cancel_job(self, cluster_name: str, job_id: int) -> None: ...

    async def tail_logs(self, cluster_name: str, job_id: int, on_line: Callable[[str], None], *, follow: bool = True) -> int | None:
        """Stream the job's log from its first line, calling `on_line` in the caller's loop; returns SkyPilot's JobExitCode.

        None where the stream ended without one. Raises ClusterGone, EndpointUnreachable where the stream was cut, and
        StreamRefused where this process or the server follows as many logs as it can.
        """
        ...

    async def ssh_options(self, cluster_name: str) -> Sequence[str]:
        """OpenSSH's options with which the cluster's own name is a host, its first node. Raises ClusterGone."""
        ...

    async def down(self, cluster_name: str) -> None:
        """Take the cluster down and wait for it. Raises ClusterGone where SkyPilot has no record of it."""
        ...
