"""A thousand steps that wait in one process, on a server in memory: what they cost, and whether a chatty one is held up by them.

Twice, each in a process of its own: as run_sky_task of a Prefect flow, and as the core's runner alone. WAITS is their number.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from figures import Figure, report, say
from prefect_server import prefect_server
from sky_orchestrate.cluster import JobStatus
from sky_orchestrate.log_stream import LineWriter, follow
from tests.fake_sky import FakeServer, FakeSky, Speed

WAITS = int(os.environ.get("WAITS", "1000"))
_CHATTY_SECONDS, _LINES_A_SECOND = 30, 100
_WAITING = "name: waits\nrun: |\n  echo begun\n  sleep 3600\n"
_CHATTY = "name: chatty\nrun: |\n  sleep 3600\n"


class Chatty(FakeSky):
    """The chatty task's log comes as the real one does, from a thread: each line is the moment it was printed."""

    async def tail_logs(self, cluster_name: str, job_id: int, on_line: Callable[[str], None], *, follow: bool = True) -> int | None:
        if "chatty" not in cluster_name:
            return await super().tail_logs(cluster_name, job_id, on_line, follow=follow)
        return await _stamped(on_line)


async def _stamped(on_line: Callable[[str], None]) -> int | None:
    def print_lines(out: LineWriter) -> int:
        for _ in range(_CHATTY_SECONDS * _LINES_A_SECOND):
            out.write(f"printed at {time.time()}\n")
            time.sleep(1 / _LINES_A_SECOND)
        return 0

    return await follow(print_lines, on_line)


class Delays(logging.Handler):
    """How late each of the chatty task's lines is when it is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.take(record.getMessage())

    def take(self, line: str) -> None:
        _, found, printed = line.partition("printed at ")
        if found:
            self.seconds.append(time.time() - float(printed))


class Lag:
    """How late an event loop wakes a sleeper, in seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.seconds: list[float] = []
        self._probe = asyncio.run_coroutine_threadsafe(self._measure(), loop)

    def end(self) -> list[float]:
        self._probe.cancel()
        return self.seconds

    async def _measure(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.02)
            self.seconds.append(time.perf_counter() - began - 0.02)


async def while_all_wait(
    server: FakeServer,
    home: asyncio.AbstractEventLoop,
    wait: Callable[[int], Coroutine[Any, Any, Any]],
    chat: Callable[[], Coroutine[Any, Any, Any]],
) -> list[float]:
    """Start all waits, then the chatty task beside them, then let all end. Returns the loops' lags while the chatty one ran.

    `home` is the loop in which the server and the core live; Prefect's flow has one of its own.
    """
    waits = asyncio.gather(*(wait(number) for number in range(WAITS)))
    while len(server.submissions) < WAITS and not waits.done():
        await asyncio.sleep(0.5)
    lags = [Lag(loop) for loop in {home, asyncio.get_running_loop()}]
    await chat()
    late = [second for lag in lags for second in lag.end()]
    home.call_soon_threadsafe(_end_all, server)
    await waits
    return late


def _end_all(server: FakeServer) -> None:
    for cluster in server.clusters.values():
        for job in cluster.jobs:
            job.end(JobStatus.SUCCEEDED)
            if job.work is not None:
                job.work.cancel()


def told(server: FakeServer, late: list[float], delays: Delays) -> dict[str, float]:
    if server.left:
        raise SystemExit(f"{len(server.left)} clusters and requests are left, such as {server.left[0]}")
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return {
        "memory": peak / 1024,
        "lag": statistics.quantiles(late, n=100)[98] * 1000,
        "delay": max(delays.seconds),
        "lines": len(delays.seconds),
    }


async def by_the_runner() -> dict[str, float]:
    from sky_orchestrate.naming import RunKey
    from sky_orchestrate.runner import RunOptions, run_task
    from sky_orchestrate.task import TaskSpec

    server, delays, loop = FakeServer(Speed(second=1.0)), Delays(), asyncio.get_running_loop()
    client = Chatty(server)

    async def one(name: str, text: str) -> Any:
        spec = TaskSpec(name=name, source="bench", config={"name": name, "run": text})
        return await run_task(spec, RunKey("bench", "run", text + name), RunOptions(prefix=name), client=client, on_log=delays.take)

    late = await while_all_wait(
        server, loop, lambda number: one(f"waits{number}", "echo begun\nsleep 3600"), lambda: one("chatty", "sleep 3600")
    )
    return told(server, late, delays)


async def by_prefect() -> dict[str, float]:
    from flows import portal
    from flows.scope import sky_teardowns
    from flows.sky_train_flow import run_sky_task
    from prefect import flow

    portal._portal = portal.Portal(connect=lambda _settings: Chatty(server))
    server, delays, loop = FakeServer(Speed(second=1.0)), Delays(), portal._portal.loop
    logging.getLogger("prefect.task_runs").addHandler(delays)

    @flow(name="fan-out")
    async def fan_out() -> list[float]:
        async with sky_teardowns():
            return await while_all_wait(
                server,
                loop,
                lambda number: run_sky_task(task_yaml=_WAITING, key=f"wait {number}"),
                lambda: run_sky_task(task_yaml=_CHATTY, cluster_prefix="chatty"),
            )

    return told(server, await fan_out(), delays)


def in_a_process(mode: str, environment: Mapping[str, str]) -> dict[str, float]:
    command = [sys.executable, __file__, mode]
    done = subprocess.run(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True, check=False, timeout=1800)
    if done.returncode:
        raise SystemExit(f"fan_out.py {mode} failed")
    found = json.loads(done.stdout.splitlines()[-1])
    late = f"lag p99 {found['lag']:.0f} ms, {found['lines']:.0f} lines late by at most {found['delay']:.2f} s"
    say(f"{mode}: {found['memory']:.0f} MB, {late}")
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, prefect_server(Path(folder)) as prefect:
        environment = {**prefect, "PREFECT_LOGGING_LEVEL": "INFO", "SKYPILOT_API_SERVER_ENDPOINT": "http://127.0.0.1:9"}
        found = {"run_sky_task": in_a_process("prefect", environment), "in the runner alone": in_a_process("runner", environment)}
    figures: list[Figure] = []
    for name, values in found.items():
        figures += [
            Figure(f"{WAITS} waiting {name}: memory of the process at most", values["memory"], "MB", most=300),
            Figure(f"{WAITS} waiting {name}: lag of the event loop, 99 of 100", values["lag"], "ms", most=100),
            Figure(f"{WAITS} waiting {name}: delay of a line, of {_LINES_A_SECOND} each second", values["delay"], "s", most=1),
        ]
    report(Path(sys.argv[2]), figures)


if __name__ == "__main__":
    if sys.argv[1] in ("prefect", "runner"):
        print(json.dumps(asyncio.run(by_prefect() if sys.argv[1] == "prefect" else by_the_runner())))
    else:
        main()
