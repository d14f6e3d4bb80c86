"""The local SkyPilot seen from outside: by Slurm's commands, the machine's processes, and the server's requests and refreshed status."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.e2e.processes import until


@dataclass(frozen=True)
class Cloud:
    """A job is told by its task's name or by its hash, which are parts of the names of its cluster and of its allocation."""

    endpoint: str
    slurm_conf: Path

    def allocations(self, task: str) -> list[str]:
        """Slurm's ids of what runs or waits for the task."""
        rows = self._slurm("squeue", "-h", "-o", "%i %T %j").splitlines()
        return [number for number, state, name in (row.split(maxsplit=2) for row in rows) if f"-{task}-" in name and state != "COMPLETING"]

    def scancel(self, task: str) -> None:
        self._slurm("scancel", *self.allocations(task))

    def cluster(self, task: str) -> str:
        """The name of the task's cluster, once there is one."""
        return until(f"a cluster for {task}", lambda: next(iter(self.clusters(task)), None), within=60)

    def clusters(self, task: str, *, refresh: bool = False) -> list[str]:
        import sky
        from sky.utils.common import StatusRefreshMode

        mode = StatusRefreshMode.FORCE if refresh else StatusRefreshMode.NONE
        rows: Any = sky.get(sky.status(refresh=mode, all_users=True))
        return [row["name"] for row in rows if f"-{task}-" in f"{row['name']}-"]

    def submissions(self, task: str) -> int:
        """How many launch and exec requests the server has had for the task, whatever became of them."""
        return sum(row.name in ("sky.launch", "sky.exec") for row in self._requests(task))

    def asked(self, task: str, what: str) -> bool:
        """Whether a `launch` or a `down` of the task's cluster has reached the server."""
        return any(row.name == f"sky.{what}" for row in self._requests(task))

    def down(self, task: str) -> None:
        """As somebody does by hand."""
        import sky

        sky.get(sky.down(self.cluster(task)))

    def left(self, task: str) -> list[str]:
        """Whatever is still there for the task: an allocation, a cluster, a process of its machine."""
        processes = [
            f"process {process.pid}: {' '.join(process.info['cmdline'])[:200]}"
            for process in psutil.process_iter(["cmdline"])
            if any(f"-{task}-" in word for word in process.info["cmdline"] or ()) and process.pid != os.getpid()
        ]
        return [f"allocation {number}" for number in self.allocations(task)] + processes

    def assert_nothing_left(self, task: str) -> None:
        until(f"{task} has left no allocation and no process", lambda: not self.left(task), within=10)
        assert self.clusters(task, refresh=True) == []

    def _requests(self, task: str) -> list[Any]:
        import sky
        from sky.server import common

        common.check_server_healthy(self.endpoint)
        rows = sky.api_status(all_status=True, limit=1000, fields=["request_id", "name", "status", "cluster_name"])
        return [row for row in rows if f"-{task}-" in f"{row.cluster_name}-"]

    def _slurm(self, *command: str) -> str:
        environ = {**os.environ, "SLURM_CONF": str(self.slurm_conf)}
        return subprocess.run(command, env=environ, check=True, capture_output=True, text=True, timeout=30).stdout
