"""What a step is given in limits, and what comes out of it, as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Limits:
    """How long a step may take, in seconds; None is no limit.

    `provision`: from the launch request to a cluster that has taken the job. `queued`: from there to the job's start.
    `run`: from the job's start, kept over attempts.
    """

    provision: float | None = None
    queued: float | None = None
    run: float | None = None


@dataclass(frozen=True)
class Pace:
    """How often the server is asked and how long it is waited for, in seconds. Polling is spread at random between the two values."""

    retry: float = 2.0
    patience: float = 300.0
    answer: float = 120.0
    poll: tuple[float, float] = (15.0, 60.0)
    health: tuple[float, float] = (30.0, 60.0)
    lost_after: float = 60.0
    lost_poll: float = 5.0
    teardown: float = 900.0


@dataclass(frozen=True)
class Timings:
    """Seconds spent waiting for the cluster, in its queue, running, and taking it down (None while that goes on or where it was kept)."""

    provisioned: float
    queued: float
    ran: float
    torn_down: float | None = None


@dataclass(frozen=True)
class TaskResult:
    """How a step ended: plain JSON data, whatever the orchestrator keeps it in."""

    cluster_name: str
    job_id: int
    status: str
    timings: Timings
    outputs: dict[str, Any] = field(default_factory=dict[str, Any])
    log_tail: list[str] = field(default_factory=list[str])

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
