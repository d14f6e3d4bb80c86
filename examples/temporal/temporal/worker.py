"""A worker for everything in here, and how it ends: told to stop, it hands its activities over and takes nothing down."""

from __future__ import annotations

import asyncio
import logging
import signal
from datetime import timedelta

from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.worker import Worker, WorkerDeploymentConfig

from sky_orchestrate.errors import SettingsError
from sky_orchestrate.settings import Settings
from temporal.activities import SkyActivities
from temporal.connection import connect_temporal, refusals_told
from temporal.health import health_page
from temporal.reaper import SkyReaperWorkflow, schedule_reaper
from temporal.run_state import run_states_of
from temporal.sweep import SkySweepWorkflow
from temporal.worker_log import one_line_per_failure
from temporal.worker_settings import WorkerSettings, worker_settings
from temporal.workflows import SkyPilotWorkflow, SkyTaskWorkflow

WORKFLOWS = [SkyPilotWorkflow, SkyTaskWorkflow, SkySweepWorkflow, SkyReaperWorkflow]
logger = logging.getLogger("temporal.worker")


def make_worker(client: Client, activities: SkyActivities, options: WorkerSettings, *, slug: str = "") -> Worker:
    """A worker for all workflows and activities of the project."""
    versioning = None
    if options.build_id:
        versioning = WorkerDeploymentConfig(
            version=WorkerDeploymentVersion(deployment_name=slug, build_id=options.build_id),
            use_worker_versioning=True,
            # A pipeline ends on the code it began with: a redeploy needs no patches for runs in flight.
            default_versioning_behavior=VersioningBehavior.PINNED,
        )
    one_line_per_failure()
    return Worker(
        client,
        task_queue=options.task_queue,
        workflows=WORKFLOWS,
        activities=activities.all,
        max_concurrent_activities=options.activities,
        max_concurrent_workflow_tasks=options.workflow_tasks,
        max_cached_workflows=options.cached_workflows,
        graceful_shutdown_timeout=timedelta(seconds=options.shutdown),
        # So long Temporal keeps a run's next step for a worker that has gone; by default it is 10 s, in which a cluster may idle.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
        # A cancel comes with the answer to a heartbeat: activities beat as often as they need to hear of one, and nothing holds that up.
        max_heartbeat_throttle_interval=timedelta(seconds=2),
        default_heartbeat_throttle_interval=timedelta(seconds=2),
        deployment_config=versioning,
    )


async def serve(settings: Settings, *, with_reaper: bool) -> None:
    """Work until SIGTERM or SIGINT. Raises SettingsError kinds in one line."""
    options = worker_settings(settings)
    client = await connect_temporal(settings, runtime=_runtime(options))
    worker = make_worker(client, SkyActivities(settings, run_states_of(client)), options, slug=settings.slug)
    if with_reaper:
        with refusals_told():
            name = await schedule_reaper(client, settings.slug, task_queue=options.task_queue)
        logger.info(f"the reaper runs on the schedule {name}")
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    with refusals_told():
        async with worker, health_page(options.health, worker, client):
            logger.info(f"polling {options.task_queue} of {client.namespace} at {client.service_client.config.target_host}")
            await told.wait()
            logger.info("stopping: clusters stay, and another worker goes on")


def _runtime(options: WorkerSettings) -> Runtime:
    if not options.metrics:
        return Runtime.default()
    try:
        return Runtime(telemetry=TelemetryConfig(metrics=PrometheusConfig(bind_address=options.metrics)))
    except (RuntimeError, ValueError) as error:
        raise SettingsError(f"TEMPORAL_METRICS_ADDRESS {options.metrics} cannot be listened on: {error}") from error
