"""From a submitted job to its result: the log stream decides, or where it cannot, the job's status; limits and losses end the wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from sky_orchestrate import errors
from sky_orchestrate.cluster import JobStatus, SkyClient
from sky_orchestrate.logs import JobLog
from sky_orchestrate.patience import ask, first, jitter, within
from sky_orchestrate.result import Limits, Pace, TaskResult, Timings
from sky_orchestrate.submission import Placement, Submitted, sole_survivor

# sky.exceptions.JobExitCode. 101 (not finished) and 102 (not found) are no verdicts: the status is asked.
_VERDICTS = {0: JobStatus.SUCCEEDED, 100: JobStatus.FAILED, 103: JobStatus.CANCELLED}
_TICK = 0.5


class Following:
    """One attempt's wait for a job. `job_id` may change once, to an older double of the job.

    `submitted_at` is when an earlier attempt submitted it, in Unix seconds; by default now.
    """

    def __init__(
        self,
        client: SkyClient,
        place: Placement,
        submitted: Submitted,
        log: JobLog,
        *,
        limits: Limits,
        pace: Pace,
        say: Callable[[str], None],
        submitted_at: float | None = None,
    ) -> None:
        self._client, self._place, self._log = client, place, log
        self._limits, self._pace, self._say = limits, pace, say
        self._submitted = submitted
        self._submitted_at = submitted_at or time.time()
        self._started_at = submitted.started_at
        self.job_id = submitted.job_id

    @property
    def queued(self) -> float:
        return max(0.0, (self._started_at or time.time()) - self._submitted_at)

    @property
    def ran(self) -> float:
        return max(0.0, time.time() - (self._started_at or time.time()))

    @property
    def started_at(self) -> float | None:
        """When the job began, in Unix seconds; None while it waits or nobody has said."""
        return self._started_at

    async def result(self, *, provisioned: float) -> TaskResult:
        """What the job came to, once it has ended; `provisioned` are the seconds its cluster took.

        Raises SkyJobFailed for anything but success, and what `verdict` does.
        """
        status = await self.verdict()
        if status is not JobStatus.SUCCEEDED:
            raise self._failure(status)
        return TaskResult(
            cluster_name=self._place.cluster,
            job_id=self.job_id,
            status=status.value,
            outputs=dict(self._log.outputs),
            log_tail=list(self._log.tail),
            timings=Timings(round(provisioned, 1), round(self.queued, 1), round(self.ran, 1)),
        )

    def _failure(self, status: JobStatus) -> errors.SkyJobFailed:
        cancelled = status is JobStatus.CANCELLED
        kind = errors.SkyJobCancelled if cancelled else errors.SkyJobFailed
        return kind(
            cluster_name=self._place.cluster,
            job_id=self.job_id,
            status=status.value,
            exit_code=self._log.exit_code or (103 if cancelled else 100),
            log_tail=tuple(self._log.tail),
        )

    async def verdict(self) -> JobStatus:
        """The job's terminal status. Raises SkyClusterLost, SkyQueuedTimeout, SkyRunTimeout and EndpointError kinds."""
        while True:
            contenders: list[Any] = [self._log_verdict(), self._cluster_lost(), self._limit_reached()]
            # Reading a queue costs the server seconds; the delivery whose job is the lower one need not.
            if not self._submitted.found and not self._submitted.first:
                contenders.append(self._double())
            ended = await first(*contenders)
            if ended is JobStatus.CANCELLED and not self._submitted.found:
                # Perhaps by another delivery of this step, whose job was there first.
                ended = await self._older() or ended
            if isinstance(ended, JobStatus):
                self._log.flush()
                return ended
            # An older double of our job stays; it is followed from its first line.
            self._log.begin_anew()
            self._submitted, self.job_id, self._started_at = ended, ended.job_id, ended.started_at

    async def _log_verdict(self) -> JobStatus:
        give_up = time.monotonic() + self._pace.patience
        while True:
            self._log.restart()
            lines, began = self._log.lines, time.monotonic()
            try:
                code = await self._streamed()
                if code in _VERDICTS:
                    if _VERDICTS[code] is JobStatus.FAILED and self._log.exit_code is None:
                        await self._rest_of_the_log()
                    return _VERDICTS[code]
                status = await self._status()
                if status is not None and not status.live:
                    await self._rest_of_the_log()
                    return status
            except (errors.ClusterGone, errors.EndpointUnreachable) as error:
                if isinstance(error, errors.ClusterGone):
                    await self._lost_for_sure()
                # A stream that brought something, or that held while a silent job ran, is no part of a row of failures.
                if self._log.lines > lines or time.monotonic() - began > self._pace.answer:
                    give_up = time.monotonic() + self._pace.patience
                if time.monotonic() > give_up:
                    if isinstance(error, errors.EndpointUnreachable):
                        raise
                    raise errors.SkyClusterLost(
                        f"{self._place.cluster} is up, and answers nothing about job {self.job_id}: {error}"
                    ) from error
                self._say(f"nothing heard of job {self.job_id} ({error}); asking again")
            await asyncio.sleep(jitter(self._pace.retry, 2 * self._pace.retry))

    async def _streamed(self) -> int | None:
        """The log's exit code; where the stream is refused, None after a while."""
        try:
            return await self._client.tail_logs(self._place.cluster, self.job_id, self._log.feed)
        except errors.StreamRefused:
            await asyncio.sleep(jitter(*self._pace.poll))
            return None

    async def _status(self) -> JobStatus | None:
        status = await ask(self._pace, lambda: self._client.job_status(self._place.cluster, self.job_id))
        if status is not None and status.live and not status.waiting:
            self._note_start()
        return status

    async def _rest_of_the_log(self) -> None:
        """What the stream did not bring; the verdict does not hang on it."""
        for _ in range(3):
            self._log.restart()
            try:
                async with within(self._pace.answer):
                    await self._client.tail_logs(self._place.cluster, self.job_id, self._log.feed, follow=False)
                return
            except errors.StreamRefused:
                await asyncio.sleep(jitter(*self._pace.poll))
            except (errors.SkyOrchestrateError, asyncio.TimeoutError):
                return

    async def _cluster_lost(self) -> JobStatus:
        while True:
            await asyncio.sleep(jitter(*self._pace.health))
            cluster = await ask(self._pace, lambda: self._client.cluster(self._place.cluster, refresh=True))
            if cluster is None or not cluster.up:
                await self._lost_for_sure()

    async def _lost_for_sure(self) -> None:
        """Return where the cluster is up after all; raise SkyClusterLost once it was not for `pace.lost_after` seconds."""
        name = self._place.cluster
        since = time.monotonic()
        while True:
            cluster = await ask(self._pace, lambda: self._client.cluster(name, refresh=True))
            if cluster is not None and cluster.up:
                return
            if await ask(self._pace, lambda: self._client.active_requests(name)):
                since = time.monotonic()
            if time.monotonic() - since >= self._pace.lost_after:
                state = "is gone" if cluster is None else f"is {cluster.status}"
                raise errors.SkyClusterLost(f"{name} {state} under job {self.job_id}: preempted, evicted or taken down by somebody")
            await asyncio.sleep(self._pace.lost_poll)

    async def _limit_reached(self) -> JobStatus:
        while True:
            if self._log.started:
                self._note_start()
            now = time.time()
            if self._started_at is None:
                queued = self._limits.queued
                # It may have begun while nobody followed it.
                if queued is not None and now - self._submitted_at > queued and await self._waits():
                    raise errors.SkyQueuedTimeout(f"job {self.job_id} on {self._place.cluster} did not start within {queued:g} s")
            elif self._limits.run is not None and now - self._started_at > self._limits.run:
                raise errors.SkyRunTimeout(
                    f"job {self.job_id} on {self._place.cluster} ran longer than its limit of {self._limits.run:g} s"
                )
            await asyncio.sleep(_TICK)

    async def _waits(self) -> bool:
        status = await self._status()
        return status is None or status.waiting

    def _note_start(self) -> None:
        if self._started_at is None:
            self._started_at = time.time()

    async def _double(self) -> Submitted:
        """Ends only where another delivery's job, older than ours, is the one that stays."""
        older = await self._older()
        while older is None:
            await asyncio.sleep(3600)
        return older

    async def _older(self) -> Submitted | None:
        try:
            keep = await sole_survivor(self._client, self._place, self._submitted, pace=self._pace, say=self._say)
        except errors.ClusterGone:
            return None
        if keep.job_id == self.job_id:
            return None
        self._say(f"job {keep.job_id} on {self._place.cluster} was there first: following it")
        return keep
