"""A cluster of the server in memory, and its jobs: shell scripts of `echo`, `sleep`, `exit` and `set`."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from sky_orchestrate.cluster import Cluster, Job, JobStatus


@dataclass
class FakeJob:
    id: int
    name: str
    setup: str
    run: str
    envs: dict[str, str]
    status: JobStatus = JobStatus.PENDING
    lines: list[str] = field(default_factory=list)
    started_at: float | None = None
    ended_at: float | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    work: asyncio.Task[None] | None = None

    def say(self, line: str) -> None:
        self.lines.append(line)
        self._wake()

    def end(self, status: JobStatus) -> None:
        if self.status.live:
            self.status, self.ended_at = status, time.time()
            self._wake()

    def _wake(self) -> None:
        waiting, self.changed = self.changed, asyncio.Event()
        waiting.set()

    async def play(self, before: Sequence[asyncio.Task[None]], second: float) -> None:
        """Run the job once those `before` it ended; `second` is how long one of its seconds lasts."""
        try:
            if before:
                await asyncio.wait(before)
            self.say("\x1b[2m├── \x1b[0mWaiting for task resources on 1 node.")
            self.say(
                "\x1b[2m└── \x1b[0mJob started. Streaming logs... \x1b[2m(Ctrl-C to exit log streaming; job will not be killed)\x1b[0m"
            )
            self.status, self.started_at = JobStatus.SETTING_UP, time.time()
            if await self._script(self.setup, second):
                self.end(JobStatus.FAILED_SETUP)
                return
            self.status = JobStatus.RUNNING
            code = await self._script(self.run, second)
            if code:
                self.say(f"ERROR: \x1b[31mJob {self.id} failed with return code list:\x1b[0m [{code}]")
            self.end(JobStatus.FAILED if code else JobStatus.SUCCEEDED)
        except asyncio.CancelledError:
            self.end(JobStatus.CANCELLED)

    async def _script(self, script: str, second: float) -> int:
        """Run a script of `echo`, `sleep`, `exit` and `set`; returns its exit code."""
        for line in script.splitlines():
            words = shlex.split(line)
            if not words or words[0] == "set":
                continue
            if words[0] == "echo":
                text = " ".join(words[1:])
                for name, value in self.envs.items():
                    text = text.replace(f"${name}", value)
                self.say(f"\x1b[36m({self.name}, pid=42)\x1b[0m {text}")
            elif words[0] == "sleep":
                await asyncio.sleep(float(words[1]) * second)
            elif words[0] == "exit":
                return int(words[1])
            else:
                raise AssertionError(f"the fake server's shell knows no {words[0]!r}")
        return 0

    def record(self) -> Job:
        return Job(self.id, self.name, self.status, self.started_at, self.ended_at)


@dataclass
class FakeCluster:
    name: str
    labels: dict[str, str]
    status: str = "INIT"
    exists: bool = True
    ready: bool = True
    autodown: int | None = None
    launched_at: float = field(default_factory=time.time)
    jobs: list[FakeJob] = field(default_factory=list)

    def record(self) -> Cluster:
        return Cluster(self.name, self.status, dict(self.labels), self.launched_at, "fake")

    def lose(self) -> None:
        """The infra takes the machine; SkyPilot's record stays until it is refreshed."""
        self.exists = False
        for job in self.jobs:
            if job.work is not None:
                job.work.cancel()
