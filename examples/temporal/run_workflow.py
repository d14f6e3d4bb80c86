"""Start the pipeline and follow it: python run_workflow.py [--repo-url URL] [--branch NAME] [--env NAME=VALUE] ..."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import uuid
from contextlib import AsyncExitStack

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from sky_orchestrate.errors import SettingsError, SkyOrchestrateError
from sky_orchestrate.settings import Settings, load_settings
from temporal.activities import SkyActivities
from temporal.connection import connect_temporal, leave, refusals_told
from temporal.following import follow
from temporal.messages import PipelineStatus, SkyPilotWorkflowInput, SkyPilotWorkflowResult
from temporal.run_state import run_states_of
from temporal.worker import make_worker
from temporal.worker_settings import WorkerSettings, worker_settings
from temporal.workflows import STEPS, SkyPilotWorkflow


def main() -> int:
    options = _parser().parse_args()
    try:
        return asyncio.run(run(options, load_settings()))
    except KeyboardInterrupt:
        print(f"\nThe run goes on without this. To end it and take its clusters down: temporal workflow cancel -w {options.id}")
        return 130
    except SkyOrchestrateError as error:
        for line in getattr(error, "log_tail", ()):
            print(f"  {line}", file=sys.stderr)
        print(f"error: {error}", file=sys.stderr)
        return 1


async def run(options: argparse.Namespace, settings: Settings) -> int:
    client = await connect_temporal(settings)
    asked = worker_settings(settings)
    with refusals_told():
        return await _run(options, settings, client, asked)


async def _run(options: argparse.Namespace, settings: Settings, client: Client, asked: WorkerSettings) -> int:
    async with AsyncExitStack() as stack:
        if options.with_worker:
            await stack.enter_async_context(make_worker(client, SkyActivities(settings, run_states_of(client)), asked, slug=settings.slug))
        handle = await _started(client, pipeline_input(options, settings), options.id, asked.task_queue)
        result = await follow(handle, _Story().tell)
    # JSON does not keep their order.
    for name in (name for name in STEPS if name in result.steps):
        step, times = result.steps[name], result.steps[name].timings
        print(f"{name}: provisioned {times.provisioned:.1f} s, queued {times.queued:.1f} s, ran {times.ran:.1f} s on {step.cluster_name}")
    print(f"accuracy: {result.accuracy}")
    return 0


async def _started(
    client: Client, given: SkyPilotWorkflowInput, name: str, task_queue: str
) -> WorkflowHandle[SkyPilotWorkflow, SkyPilotWorkflowResult]:
    """The run of that id: the one that is there, else a new one. Raises SettingsError where another workflow has it."""
    state = "runs"
    try:
        handle = await client.start_workflow(
            SkyPilotWorkflow.run,
            given,
            id=name,
            task_queue=task_queue,
            # Whoever follows a run that ended meanwhile does not mean to pay for another one.
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
    except WorkflowAlreadyStartedError:
        handle, state = client.get_workflow_handle_for(SkyPilotWorkflow.run, name), "has ended, and another run wants another --id"
    kind = (await handle.describe()).workflow_type
    if kind != SkyPilotWorkflow.__name__:
        raise SettingsError(f"--id {name} is that of a {kind}, and would be right as that of a {SkyPilotWorkflow.__name__} or a new one")
    print(f"{name} {state}; python run_workflow.py --id {name} follows it again")
    return handle


def pipeline_input(options: argparse.Namespace, settings: Settings) -> SkyPilotWorkflowInput:
    """The guide's input. SKYPILOT_BUCKET_URL is its name for DATA_BUCKET_URL, which the worker has of its own."""
    envs = dict(_pair(text, "--env") for text in options.env)
    bucket = settings.variable("SKYPILOT_BUCKET_URL")
    if bucket:
        envs.setdefault("DATA_BUCKET_URL", bucket)
    return SkyPilotWorkflowInput(
        cluster_prefix=options.cluster_prefix,
        repo_url=options.repo_url,
        branch=options.branch,
        envs_override=envs,
        secrets=dict(_pair(text if "=" in text else f"{text}={text}", "--secret") for text in options.secret),
        infra=options.infra,
        keep_cluster=options.keep_cluster,
    )


class _Story:
    """What a terminal is told of the run."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._told: set[str] = set()

    def tell(self, status: PipelineStatus) -> None:
        where = f" on {status.cluster_name}" if status.job_id else ""
        lines = [f"{name}: {step.status}" for name, step in status.finished.items()]
        lines.append(f"{status.step}{where}" + (f", job {status.job_id}" if status.job_id else ""))
        for line in lines:
            if line not in self._told:
                self._told.add(line)
                print(f"{time.monotonic() - self._began:6.0f} s  {line}", flush=True)


def _pair(text: str, option: str) -> tuple[str, str]:
    name, given, value = text.partition("=")
    if not given or not name:
        raise SettingsError(f"{option} {text}: would be right as NAME=VALUE")
    return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Preprocess, train and evaluate on SkyPilot clusters. A run outlives this command: Ctrl-C only stops following it."
    )
    parser.add_argument("--id", default=f"sky-pipeline-{uuid.uuid4().hex[:8]}", help="the workflow's id; one that is there is followed")
    parser.add_argument("--repo-url", default="", metavar="URL", help="a Git repository with the task files (default: the project's)")
    parser.add_argument("--branch", metavar="NAME", help="its branch, tag or commit (default: its default branch)")
    parser.add_argument("--cluster-prefix", default="", metavar="NAME", help="the start of the clusters' names (default: the project)")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="an env of all three tasks")
    parser.add_argument(
        "--secret",
        action="append",
        default=[],
        metavar="NAME[=SOURCE]",
        help="a secret of the tasks, by its name on the worker",
    )
    parser.add_argument("--infra", metavar="INFRA", help="k8s/context, aws/us-east-1 ..., in place of the tasks' own")
    parser.add_argument("--keep-cluster", action="store_true", help="leave the training cluster up, on purpose")
    parser.add_argument("--with-worker", action="store_true", help="work on it here too, for as long as this command runs")
    return parser


if __name__ == "__main__":
    leave(main())
