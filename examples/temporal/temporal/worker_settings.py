"""What a worker is set to: the environment first, then .env. A wrong value is one SettingsError that names the variable."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sky_orchestrate.errors import SettingsError
from sky_orchestrate.settings import Settings
from temporal.messages import TASK_QUEUE


@dataclass(frozen=True)
class WorkerSettings:
    """`metrics` and `health` are addresses to listen on as host:port, empty for none. Times are seconds.

    A wait is an activity: `activities` bounds how many jobs one worker follows. `cached_workflows` are kept in memory between their events;
    the others, which wait for hours at a time, are built from their short histories when something happens. `build_id` turns worker
    versioning on.
    """

    task_queue: str = TASK_QUEUE
    activities: int = 1000
    workflow_tasks: int = 100
    cached_workflows: int = 100
    shutdown: float = 30.0
    metrics: str = ""
    health: str = ""
    build_id: str = ""


def worker_settings(settings: Settings) -> WorkerSettings:
    return WorkerSettings(
        task_queue=settings.variable("TEMPORAL_TASK_QUEUE") or TASK_QUEUE,
        activities=_whole(settings, "TEMPORAL_MAX_ACTIVITIES", 1000),
        workflow_tasks=_whole(settings, "TEMPORAL_MAX_WORKFLOW_TASKS", 100, least=2),
        cached_workflows=_whole(settings, "TEMPORAL_MAX_CACHED_WORKFLOWS", 100, least=2),
        shutdown=float(_whole(settings, "TEMPORAL_SHUTDOWN_SECONDS", 30, least=0)),
        metrics=_address(settings, "TEMPORAL_METRICS_ADDRESS"),
        health=_address(settings, "TEMPORAL_HEALTH_ADDRESS"),
        build_id=settings.variable("TEMPORAL_WORKER_BUILD_ID"),
    )


def _whole(settings: Settings, name: str, default: int, *, least: int = 1) -> int:
    text = settings.variable(name) or str(default)
    if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) < least:
        raise SettingsError(f"{name} is {text!r}, and would be right as a whole number from {least}")
    return int(text)


def _address(settings: Settings, name: str) -> str:
    text = settings.variable(name)
    if text and not (re.fullmatch(r"[^\s:]+:[0-9]{1,5}", text) and int(text.rsplit(":", 1)[1]) < 65536):
        raise SettingsError(f"{name} is {text!r}, and would be right as host:port, such as 127.0.0.1:9464")
    return text
