"""`python -m sky_orchestrate logs|status|down|reap|doctor`."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from sky_orchestrate import naming
from sky_orchestrate.doctor import examine
from sky_orchestrate.errors import SettingsError, SkyOrchestrateError
from sky_orchestrate.invocation import ExitCode, Invocation, exit_code
from sky_orchestrate.logs import JobLog
from sky_orchestrate.patience import ask
from sky_orchestrate.reaper import RunState
from sky_orchestrate.reaper import reap as reap_clusters
from sky_orchestrate.run_command import shared_name
from sky_orchestrate.settings import Settings
from sky_orchestrate.teardown import tear_down

RunStateOf = Callable[[str], Awaitable[RunState | None]]


async def down(call: Invocation) -> ExitCode:
    """Take clusters down by their names, side by side, and tell of each."""
    await call.client.server()

    async def one(name: str) -> ExitCode:
        try:
            seconds = await tear_down(call.client, name, pace=call.pace)
        except SkyOrchestrateError as error:
            call.console.print(f"{name}: {error}", style="bold red")
            return exit_code(error)
        call.console.print(f"{name}: gone ({seconds:.0f} s)")
        return ExitCode.OK

    return max(await asyncio.gather(*(one(_named(name, call)) for name in dict.fromkeys(call.options.clusters))))


async def logs(call: Invocation) -> ExitCode:
    """Print what the newest job on a cluster has said so far."""
    name = _named(call.options.cluster, call)
    jobs = await ask(call.pace, lambda: call.client.queue(name))
    if not jobs:
        call.console.print(f"{name}: no job yet")
        return ExitCode.OK
    newest = max(jobs, key=lambda job: job.id)
    log = JobLog(newest.name, call.console.print)
    await ask(call.pace, lambda: _printed(call, name, newest.id, log))
    call.console.print(f"{name}: job {newest.id} is {newest.status.value}")
    return ExitCode.OK


async def status(call: Invocation) -> ExitCode:
    """List the owner's clusters, or those of one run."""
    wanted = naming.label(call.options.run) if call.options.run else None
    found = [one for one in await ask(call.pace, call.client.clusters) if one.labels.get("owner") == naming.label(call.settings.owner)]
    told = [one for one in found if wanted in (None, one.labels.get("run"))]
    for one in sorted(told, key=lambda cluster: cluster.name):
        kept = ", kept on purpose" if one.labels.get("keep") == "1" else ""
        call.console.print(f"{one.name}: {one.status} on {one.infra or 'an unknown infra'}, of run {one.labels.get('run', '?')}{kept}")
    if not told:
        call.console.print(_none(call))
    return ExitCode.OK


async def _printed(call: Invocation, name: str, job_id: int, log: JobLog) -> None:
    """The log from its first line. What a stream that broke has shown is not shown again."""
    log.restart()
    await call.client.tail_logs(name, job_id, log.feed, follow=False)
    log.flush()


def _named(name: str, call: Invocation) -> str:
    return shared_name(name, call.options, call.settings) if call.options.run else name


def _none(call: Invocation) -> str:
    return f"no cluster of {call.settings.owner}" + (f" and run {call.options.run}" if call.options.run else "")


async def reap(call: Invocation) -> ExitCode:
    """Take down what the orchestrator calls over, or what one run left."""
    wanted = naming.label(call.options.run) if call.options.run else None
    found = await reap_clusters(
        call.client,
        owner=call.settings.owner,
        run_state=_state_of(wanted) if wanted else await _asking(call),
        grace=call.settings.reaper_grace,
        dry_run=call.options.dry_run,
        pace=call.pace,
    )
    told = [one for one in found if wanted is None or one.run == wanted]
    for one in told:
        call.console.print(f"{one.cluster}: {one.action}: {one.reason}", style="bold red" if one.action == "failed" else None)
    if not told:
        call.console.print(_none(call))
    return ExitCode.LEFT_RUNNING if any(one.action == "failed" for one in told) else ExitCode.OK


async def doctor(call: Invocation) -> ExitCode:
    """One screen: a line for each thing the project needs."""
    tasks = call.options.tasks or sorted((call.settings.root / "tasks").glob("*.yaml"))
    code = ExitCode.OK
    async for finding in examine(call.settings, call.client, tasks):
        mark, style = ("ok  ", "green") if finding.ok else ("FAIL", "bold red")
        call.console.print(f"{mark}  {finding.what}: {finding.says}", style=style)
        if not finding.ok:
            code = ExitCode.FAILED
            call.console.print(f"      {finding.cure}")
    return code


def _state_of(wanted: str) -> RunStateOf:
    async def state(label: str) -> RunState | None:
        # Long ago: no grace time holds it up.
        return RunState(over=label == wanted, ended_at=0.0)

    return state


async def _asking(call: Invocation) -> RunStateOf:
    """The flavour's function; one that takes two arguments is given all of the cluster's labels beside the run's."""
    found = _run_state(call.settings)
    if len(inspect.signature(found).parameters) < 2:
        return found
    labels = {one.labels.get("run", ""): one.labels for one in await ask(call.pace, call.client.clusters)}
    return lambda run: found(run, labels.get(run, {}))


def _run_state(settings: Settings) -> Callable[..., Awaitable[RunState | None]]:
    """The flavour's function that asks its orchestrator, as pyproject.toml names it."""
    module, _, name = settings.run_state.partition(":")
    cure = 'pyproject.toml names it: [tool.sky-orchestrate] run_state = "package.module:function"'
    if not module or not name:
        raise SettingsError(f"run_state is {settings.run_state!r}, and would be right as the function that asks the orchestrator; {cure}")
    if str(settings.root) not in sys.path:
        sys.path.insert(0, str(settings.root))
    try:
        found: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"run_state {settings.run_state!r} cannot be imported ({error}); {cure}") from error
    return found
