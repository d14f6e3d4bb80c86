"""SkyPilot's SDK, asked asynchronously. The only module that imports `sky`, and only when first used (4-5 s).

The SDK sends a request in a thread and awaits its result over HTTP, so that a thousand waits hold no thread each. What it holds
back (log streams, launches, status requests) are settings: each status request costs the server seconds.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import threading
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from sky_orchestrate import errors
from sky_orchestrate.cluster import Cluster, Job, JobStatus, Request, Server
from sky_orchestrate.launch_config import launch_config
from sky_orchestrate.log_stream import follow as follow_stream
from sky_orchestrate.patience import within
from sky_orchestrate.settings import Settings
from sky_orchestrate.task import TaskSpec
from sky_orchestrate.translate import refused_by_kubernetes, translate, translated

T = TypeVar("T")

# sky.launch, sky.exec and sky.down are what the server calls the requests that change a cluster.
_KINDS = {"sky.launch": "launch", "sky.exec": "exec", "sky.down": "down"}
_REQUEST_FIELDS = ["request_id", "name", "status", "cluster_name"]
# A launch's log ends with what stopped it, below the stack that led there; and how many seconds it is waited for.
_PROVISION_LINES, _PROVISION_LOG_WAIT = 40, 20.0
_ENDPOINT_VARIABLE = "SKYPILOT_API_SERVER_ENDPOINT"
_TOKEN_VARIABLE = "SKYPILOT_SERVICE_ACCOUNT_TOKEN"  # noqa: S105  # its name, not its value

_first_endpoint: str | None = None
_importing = threading.Lock()


def connect(settings: Settings) -> Client:
    """The client for the settings' endpoint; use it from one event loop.

    The SDK keeps the first endpoint of a process, so a later different one is refused: EndpointChanged.
    """
    global _first_endpoint
    endpoint = settings.endpoint.rstrip("/")
    if _first_endpoint not in (None, endpoint):
        raise errors.EndpointChanged(
            f"this process already talks to SkyPilot at {_first_endpoint}, so it cannot use {endpoint}; use one endpoint per process"
        )
    _first_endpoint = endpoint
    os.environ[_ENDPOINT_VARIABLE] = endpoint
    os.environ["SKYPILOT_DISABLE_LOCAL_API_SERVER"] = "1"
    if token := settings.variable(_TOKEN_VARIABLE):
        os.environ[_TOKEN_VARIABLE] = token
    return Client(settings)


class Client:
    """`SkyClient` on SkyPilot's SDK."""

    def __init__(self, settings: Settings) -> None:
        self.endpoint = settings.endpoint.rstrip("/")
        self._threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="skypilot")
        self._launches = asyncio.Semaphore(settings.launches)
        self._statuses = asyncio.Semaphore(settings.status_requests)
        self._streams = settings.log_streams

    async def server(self) -> Server:
        with translated("checking the server", self.endpoint):
            common = await self._module("sky.server.common")
            status, info = await self._in_thread(common.check_server_healthy, self.endpoint)
            if status.value == "needs_auth":
                told = "refuses the token of" if os.environ.get(_TOKEN_VARIABLE) else "wants credentials; set"
                raise errors.EndpointRefused(f"SkyPilot at {self.endpoint} {told} {_TOKEN_VARIABLE}")
            user: dict[str, Any] = info.user or {}
            return Server(version=str(info.version), api_version=int(info.api_version), user=str(user.get("name") or ""))

    @asynccontextmanager
    async def launching(self) -> AsyncGenerator[None, None]:
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
        sdk = await self._module("sky.client.sdk")
        sky_task = await self._task(task, job_name, labels)
        return await self._submit(
            f"launching {cluster_name}",
            lambda: sdk.launch(
                sky_task,
                cluster_name=cluster_name,
                down=idle_minutes is not None,
                idle_minutes_to_autostop=idle_minutes,
                retry_until_up=wait_for_capacity,
            ),
        )

    async def exec(self, task: TaskSpec, cluster_name: str, *, job_name: str) -> str:
        sdk = await self._module("sky.client.sdk")
        sky_task = await self._task(task, job_name, {})
        return await self._submit(f"running on {cluster_name}", lambda: sdk.exec(sky_task, cluster_name=cluster_name))

    async def submitted_job(self, request_id: str, cluster_name: str) -> int:
        doing = f"launching {cluster_name}"
        try:
            with translated(doing, self.endpoint):
                job_id, _handle = await self._get(request_id)
        except errors.SkyNoCapacity as error:
            # SkyPilot calls it that too where Kubernetes forbids a launch, and tells so in the launch's log alone.
            cause = refused_by_kubernetes(await self._provision_log(cluster_name), doing)
            if cause is None:
                raise
            raise cause from error
        if job_id is None:
            raise errors.LaunchRejected("SkyPilot submitted no job: the task has no `run`")
        return int(job_id)

    async def active_requests(self, cluster_name: str) -> Sequence[Request]:
        with translated(f"listing requests on {cluster_name}", self.endpoint):
            sdk, common = await self._module("sky.client.sdk"), await self._module("sky.server.common")

            def listed() -> Any:
                # The health check tells the SDK, per thread, that the server knows the filter.
                common.check_server_healthy(self.endpoint)
                return sdk.api_status(cluster_name=cluster_name, fields=_REQUEST_FIELDS)

            rows = await self._in_thread(listed)
            return [Request(row.request_id, _KINDS[row.name]) for row in rows if row.cluster_name == cluster_name and row.name in _KINDS]

    async def cancel_requests(self, requests: Sequence[Request]) -> None:
        if not requests:
            return
        with translated("cancelling requests", self.endpoint):
            sdk = await self._module("sky.client.sdk")
            # all_users=True with ids: ours may have been sent from another worker, who is another user to SkyPilot.
            ids = [request.id for request in requests]
            await self._get(await self._in_thread(lambda: sdk.api_cancel(ids, all_users=True, silent=True)))

    async def request_ended(self, request: Request) -> None:
        try:
            with translated(f"waiting for {request.kind}", self.endpoint):
                await self._get(request.id)
        except (errors.EndpointUnreachable, errors.EndpointRefused):
            raise
        except errors.SkyOrchestrateError:
            return

    async def cluster(self, name: str, *, refresh: bool = False) -> Cluster | None:
        found = await self._clusters([name], refresh=refresh)
        return next((cluster for cluster in found if cluster.name == name), None)

    async def clusters(self, *, refresh: bool = False) -> Sequence[Cluster]:
        return await self._clusters(None, refresh=refresh)

    async def queue(self, cluster_name: str) -> Sequence[Job]:
        sdk = await self._module("sky.client.sdk")
        rows = await self._ask(f"reading the queue of {cluster_name}", lambda: sdk.queue(cluster_name, all_users=True), on_cluster=True)
        return [
            Job(
                int(row["job_id"]),
                row["job_name"] or "",
                JobStatus(row["status"].value),
                row.get("start_at") or None,
                row.get("end_at") or None,
            )
            for row in rows
        ]

    async def job_status(self, cluster_name: str, job_id: int) -> JobStatus | None:
        sdk = await self._module("sky.client.sdk")
        asking = f"asking for job {job_id} on {cluster_name}"
        found = await self._ask(asking, lambda: sdk.job_status(cluster_name, [job_id]), on_cluster=True)
        status = found.get(job_id)
        return None if status is None else JobStatus(status.value)

    async def cancel_job(self, cluster_name: str, job_id: int) -> None:
        sdk = await self._module("sky.client.sdk")
        await self._ask(f"cancelling job {job_id} on {cluster_name}", lambda: sdk.cancel(cluster_name, job_ids=[job_id]), on_cluster=True)

    async def tail_logs(self, cluster_name: str, job_id: int, on_line: Callable[[str], None], *, follow: bool = True) -> int | None:
        if self._streams <= 0:
            raise errors.StreamRefused(f"this process follows as many logs as its settings allow; {cluster_name} is polled meanwhile")
        self._streams -= 1
        try:
            sdk = await self._module("sky.client.sdk")
            with translated(f"following job {job_id} on {cluster_name}", self.endpoint):
                return await follow_stream(lambda out: sdk.tail_logs(cluster_name, job_id, follow, output_stream=out), on_line)
        except (errors.LaunchError, errors.RequestLost):
            # Somebody's `sky down` cancels the log's own request, and a restarted server forgets it: the stream ended without a verdict.
            return None
        finally:
            self._streams += 1

    async def ssh_options(self, cluster_name: str) -> Sequence[str]:
        # As SkyPilot's own command line has it: through the API server, whatever the infra, and with no known hosts to go stale.
        cli = await self._module("sky.client.cli.command")
        with translated(f"reading how to reach {cluster_name}", self.endpoint):
            records = await self._in_thread(lambda: cli._get_cluster_records_and_set_ssh_config([cluster_name]))
            if not any(record["name"] == cluster_name and record["status"].value == "UP" for record in records):
                raise errors.ClusterGone(f"there is no cluster {cluster_name} that is up")
            paths = (await self._module("sky.utils.cluster_utils")).SSHConfigHelper
            # The key by its full name: ssh goes by the user's entry in passwd where SkyPilot goes by HOME.
            config, key = (os.path.expanduser(path.format(cluster_name)) for path in (paths.ssh_cluster_path, paths.ssh_cluster_key_path))  # noqa: ASYNC240
            return ["-F", config, "-i", key]

    async def down(self, cluster_name: str) -> None:
        with translated(f"taking down {cluster_name}", self.endpoint):
            sdk = await self._module("sky.client.sdk")
            await self._get(await self._in_thread(lambda: sdk.down(cluster_name)))

    async def enabled_infra(self) -> Sequence[str]:
        """The infra the server may launch on, such as aws, kubernetes/context and slurm/cluster."""
        sdk = await self._module("sky.client.sdk")
        return await self._ask("reading the enabled infra", lambda: sdk.enabled_clouds(expand=True))

    async def accelerators(self, infra: str) -> Mapping[str, Sequence[float]]:
        """The accelerators of one infra, each with the counts that a node may have."""
        cloud, _, place = infra.partition("/")
        kubernetes = cloud.lower() in ("k8s", "kubernetes")
        # A Kubernetes context may hold slashes, a region is followed by its zone.
        where = {
            "clouds": ["kubernetes" if kubernetes else cloud.lower()],
            "region_filter": (place if kubernetes else place.split("/")[0]) or None,
        }
        sdk = await self._module("sky.client.sdk")
        return await self._ask(f"listing the GPUs of {infra}", lambda: sdk.list_accelerator_counts(**where))

    async def _clusters(self, names: list[str] | None, *, refresh: bool) -> list[Cluster]:
        sdk = await self._module("sky.client.sdk")
        modes = (await self._module("sky.utils.common")).StatusRefreshMode
        mode = modes.FORCE if refresh else modes.NONE
        rows = await self._ask("reading cluster status", lambda: sdk.status(names, refresh=mode, all_users=True))
        return [_cluster(row) for row in rows]

    async def _provision_log(self, cluster_name: str) -> str:
        """The last lines of its latest launch's log; none where the server has no such log, or does not answer."""
        lines: list[str] = []
        with suppress(errors.SkyOrchestrateError), translated(f"reading why {cluster_name} did not come up", self.endpoint):
            sdk = await self._module("sky.client.sdk")
            tail = {"follow": False, "tail": _PROVISION_LINES}
            async with within(_PROVISION_LOG_WAIT):
                await follow_stream(lambda out: sdk.tail_provision_logs(cluster_name, **tail, output_stream=out), lines.append)
        return "\n".join(lines)

    async def _task(self, task: TaskSpec, job_name: str, labels: Mapping[str, str]) -> Any:
        with translated(f"{task.source}", self.endpoint):
            kind = (await self._module("sky.task")).Task
            config = launch_config(task, job_name=job_name, labels=labels)
            return await self._in_thread(lambda: kind.from_yaml_config(config, secrets_overrides=list(task.secrets.items())))

    async def _submit(self, doing: str, send: Callable[[], Any]) -> str:
        try:
            return str(await self._in_thread(send))
        except Exception as error:
            ours = translate(error, doing, self.endpoint)
            if isinstance(ours, errors.EndpointUnreachable):
                # The launch POST times out after 5 s, possibly after the server took it.
                raise errors.AmbiguousSubmission(f"{doing}: no answer from {self.endpoint}; it may have taken the request") from error
            raise ours from error

    async def _ask(self, doing: str, send: Callable[[], Any], *, on_cluster: bool = False) -> Any:
        """One short request to the server, of which only a few are under way at once."""
        with translated(doing, self.endpoint, on_cluster=on_cluster):
            async with self._statuses:
                return await self._get(await self._in_thread(send))

    async def _get(self, request_id: str) -> Any:
        sdk_async = await self._module("sky.client.sdk_async")
        return await sdk_async.get(request_id)

    async def _module(self, name: str) -> Any:
        return await self._in_thread(_import, name)

    async def _in_thread(self, call: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *args)


def _cluster(row: Mapping[str, Any]) -> Cluster:
    return Cluster(
        name=row["name"],
        status=row["status"].value,
        labels=dict(row.get("labels") or {}),
        launched_at=row.get("launched_at"),
        infra=row.get("infra") or row.get("cloud") or "",
    )


def _import(name: str) -> Any:
    # Two threads that import parts of SkyPilot at once would meet each other's half-made modules.
    with _importing:
        return importlib.import_module(name)
