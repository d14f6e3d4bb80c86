"""From a submitted job to its verdict: the log stream decides, or where it cannot, the job's status; limits and losses end the wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from sky_orchestrate import errors
from sky_orchestrate.cluster import JobStatus, SkyClient
from sky_orchestrate.logs import JobLog
from sky_orchestrate.patience import ask, first, jitter, within
from sky_orchestrate.result import Limits, Pace
from sky_orchestrate.submission import Placement, Submission, Submitted

# sky.exceptions.JobExitCode. 101 (not finished) and 102 (not found) are no verdicts: the status is asked.
_VERDICTS = {0: JobStatus.SUCCEEDED, 100: JobStatus.FAILED, 103: JobStatus.CANCELLED}
_TICK = 0.5


class Following:
    """One attempt's wait for a job. `job_id` may change once, to an older double of the job."""

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
    ) -> None:
        self._client, self._place, self._log = client, place, log
        self._limits, self._pace, self._say = limits, pace, say
        self._submitted = submitted
        self._submitted_at = time.time()
        self._started_at = submitted.started_at
        self.job_id = submitted.job_id

    @property
    def queued(self) -> float:
        return max(0.0, (self._started_at or time.time()) - self._submitted_at)

    @property
    def ran(self) -> float:
        return max(0.0, time.time() - (self._started_at or time.time()))

    async def verdict(self, submission: Submission) -> JobStatus:
        """The job's terminal status. Raises SkyClusterLost, SkyQueuedTimeout, SkyRunTimeout and EndpointError kinds."""
        while True:
            contenders: list[Any] = [self._log_verdict(), self._cluster_lost(), self._limit_reached()]
            # Reading a queue costs the server seconds; the delivery whose job is the lower one need not.
            if not self._submitted.found and not self._submitted.first:
                contenders.append(self._double(submission))
            ended = await first(*contenders)
            if ended is JobStatus.CANCELLED and not self._submitted.found:
                # Perhaps by another delivery of this step, whose job was there first.
                ended = await self._older(submission) or ended
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
            lines = self._log.lines
            try:
                code = await self._client.tail_logs(self._place.cluster, self.job_id, self._log.feed)
                if code in _VERDICTS:
                    return _VERDICTS[code]
                status = await self._status()
            except errors.StreamRefused:
                await asyncio.sleep(jitter(*self._pace.poll))
                status = await self._status()
            except errors.ClusterGone:
                await self._lost_for_sure()
                continue
            except errors.EndpointUnreachable as error:
                give_up = time.monotonic() + self._pace.patience if self._log.lines > lines else give_up
                if time.monotonic() > give_up:
                    raise
                self._say(f"log stream cut ({error}); taking it up again")
                await asyncio.sleep(jitter(self._pace.retry, 2 * self._pace.retry))
                continue
            if status is not None and not status.live:
                await self._rest_of_the_log()
                return status
            await asyncio.sleep(jitter(self._pace.retry, 2 * self._pace.retry))

    async def _status(self) -> JobStatus | None:
        try:
            status = await ask(self._pace, lambda: self._client.job_status(self._place.cluster, self.job_id))
        except errors.ClusterGone:
            await self._lost_for_sure()
            return None
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
                if self._limits.queued is not None and now - self._submitted_at > self._limits.queued:
                    raise errors.SkyQueuedTimeout(
                        f"job {self.job_id} on {self._place.cluster} did not start within {self._limits.queued:g} s"
                    )
            elif self._limits.run is not None and now - self._started_at > self._limits.run:
                raise errors.SkyRunTimeout(
                    f"job {self.job_id} on {self._place.cluster} ran longer than its limit of {self._limits.run:g} s"
                )
            await asyncio.sleep(_TICK)

    def _note_start(self) -> None:
        if self._started_at is None:
            self._started_at = time.time()

    async def _double(self, submission: Submission) -> Submitted:
        """Ends only where another delivery's job, older than ours, is the one that stays."""
        older = await self._older(submission)
        while older is None:
            await asyncio.sleep(3600)
        return older

    async def _older(self, submission: Submission) -> Submitted | None:
        try:
            keep = await submission.sole_survivor(self._submitted)
        except errors.ClusterGone:
            return None
        if keep.job_id == self.job_id:
            return None
        self._say(f"job {keep.job_id} on {self._place.cluster} was there first: following it")
        return keep
