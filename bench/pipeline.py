"""The pipeline, from its process's start to its end, against the same tasks by `sky` in turn and in the guide's order of calls.

The end of the pipeline's process is a verified one: it awaits that each cluster is gone. All variants use the same warm local SkyPilot;
the two flows use the same Prefect server. ROUNDS of them are run (1 by default), and the medians compared.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from figures import Figure, report, say
from local import lifecycle, slurm
from local.place import find_place
from prefect_server import prefect_server
from requests_of import Request, covered, requests_between, seconds_by_kind

HERE = Path(__file__).resolve().parent
_OURS = "import asyncio; from flows.sky_train_flow import sky_train_workflow as flow; asyncio.run(flow(share_cluster={share}))"
_TARGETS = {"a cluster per task": 0.75, "train and eval share one": 0.55}


@dataclass
class Variant:
    name: str
    command: Sequence[str]
    seconds: list[float] = field(default_factory=list)
    requests: list[list[Request]] = field(default_factory=list)

    def run(self, environment: Mapping[str, str], endpoint: str, log: Path) -> None:
        command = [part.replace("RUN", uuid.uuid4().hex[:6]) for part in self.command]
        began, clock = time.time(), time.monotonic()
        with log.open("a") as out:
            done = subprocess.run(command, env=dict(environment), stdout=out, stderr=subprocess.STDOUT, timeout=1800, check=False)
        self.seconds.append(time.monotonic() - clock)
        self.requests.append(requests_between(endpoint, began, time.time()))
        if done.returncode or slurm.ask(find_place(), "squeue", "-h").strip():
            raise SystemExit(f"{self.name} failed or left a cluster: {log.read_text()[-3000:]}")
        say(f"{self.name}: {self.seconds[-1]:.1f} s")

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def least(self) -> float:
        """Seconds that nothing can go beside: launches, execs, the jobs' own run as their logs show it, and the last teardown."""
        return statistics.median(
            covered(request for request in requests if request.kind in {"launch", "exec", "logs"})
            + max((request for request in requests if request.kind == "down"), key=lambda request: request.began).seconds
            for requests in self.requests
        )

    def share(self) -> str:
        """A row of the table that says where the time goes."""
        kinds: dict[str, list[float]] = defaultdict(list)
        for requests in self.requests:
            by_kind = seconds_by_kind(requests)
            for kind in ("launch", "exec", "logs", "down", "short"):
                kinds[kind].append(by_kind[kind])
        idle = statistics.median(took - covered(requests) for took, requests in zip(self.seconds, self.requests, strict=True))
        server = statistics.median(sum(by_kind) for by_kind in zip(*(kinds[kind] for kind in ("launch", "exec", "down")), strict=True))
        cells = [self.median, server, *(statistics.median(kinds[kind]) for kind in ("launch", "exec", "logs", "down", "short")), idle]
        return f"| {self.name} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |"


def main() -> None:
    project, out = Path(sys.argv[1]), Path(sys.argv[2])
    endpoint = lifecycle.up(project)
    python = sys.executable
    variants = [
        Variant("`sky` in turn", ["bash", str(HERE / "in_turn.sh"), str(project), "RUN"]),
        Variant("the guide's order", [python, str(HERE / "guide_flow.py"), str(project), "RUN"]),
        Variant("a cluster per task", [python, "-c", _OURS.format(share="False")]),
        Variant("train and eval share one", [python, "-c", _OURS.format(share="True")]),
    ]
    with tempfile.TemporaryDirectory() as folder, prefect_server(Path(folder)) as prefect:
        environment = {
            **os.environ,
            **prefect,
            "HOME": folder,
            "PATH": f"{Path(python).parent}:{os.environ['PATH']}",
            "SKYPILOT_API_SERVER_ENDPOINT": endpoint,
            "SKYPILOT_DISABLE_USAGE_COLLECTION": "1",
            "SKY_ORCHESTRATE_INFRA": "local",
        }
        log = Path(folder) / "log"
        warm_up = Variant("warming up", variants[-1].command)
        warm_up.run(environment, endpoint, log)
        for _ in range(int(os.environ.get("ROUNDS", "1"))):
            for variant in variants:
                variant.run(environment, endpoint, log)
    in_turn, guide = variants[0], variants[1]
    figures = [
        Figure(f"the pipeline, {one.name}, against `sky` in turn", one.median / in_turn.median, most=_TARGETS[one.name])
        for one in variants[2:]
    ]
    figures += [Figure(f"of it what nothing can go beside ({one.name})", one.least / in_turn.median) for one in variants[2:]]
    figures += [Figure(f"the same, against the guide's order ({one.name})", one.median / guide.median) for one in variants[2:]]
    report(out, figures, shares(variants))


def shares(variants: Sequence[Variant]) -> list[str]:
    return [
        "Where the time goes, in seconds, by the server's request records: what it spent on launch, exec and down; on the jobs' logs,",
        "which is the jobs' own run and the end of the stream; on short requests (status, queue). Some of it goes on side by side.",
        "Idle is when it had none of these.",
        "",
        "| variant | in all | launch, exec and down | launch | exec | logs | down | short | idle |",
        "|---|---|---|---|---|---|---|---|---|",
        *(variant.share() for variant in variants),
    ]


if __name__ == "__main__":
    main()
