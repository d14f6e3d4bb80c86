"""`python -m sky_orchestrate run`: one task file with the whole contract, and what Ctrl-C means to it."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shlex
import signal
import sys
import uuid
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from sky_orchestrate import naming
from sky_orchestrate.errors import SettingsError, SkyOrchestrateError, SkyTeardownFailed
from sky_orchestrate.invocation import ExitCode, Invocation
from sky_orchestrate.naming import RunKey
from sky_orchestrate.result import Limits
from sky_orchestrate.runner import RunOptions, run_task
from sky_orchestrate.settings import Settings
from sky_orchestrate.task import TaskSpec, load_task

# What Kubernetes takes of a container's last words is four times as much.
_LONGEST_ERROR = 1000


async def run(call: Invocation) -> ExitCode:
    """Run the task; its log goes to the console, and its result as JSON to stdout or a file."""
    options = call.options
    for path in (options.result, options.error):
        if path and not path.parent.is_dir():
            raise SettingsError(f"{path} cannot be written: there is no folder {path.parent}")
    try:
        return await _run(call)
    except SkyOrchestrateError as error:
        if options.error:
            said = str(error).splitlines()[0].removesuffix("; its last lines:")[:_LONGEST_ERROR]
            # In place: such a file may be a mount, which nothing can be renamed over.
            options.error.write_text(json.dumps({"error": said, "retryable": error.retryable}, ensure_ascii=False), encoding="utf-8")
        raise


async def _run(call: Invocation) -> ExitCode:
    options, settings, client, console = call.options, call.settings, call.client, call.console
    task = await asyncio.to_thread(_task, options, settings)
    key, again = _key(options, settings, task)
    shared = shared_name(options.cluster, options, settings) if options.cluster else None
    cluster = shared or naming.cluster_name(settings.slug, task.name, key)
    console.print(f"{task.name} ({task.source}) on cluster {cluster}; {again} attaches to it again", style="dim")
    how = RunOptions(
        prefix=settings.slug,
        cluster=shared,
        keep=options.keep,
        idle_minutes=options.idle_minutes or settings.idle_minutes,
        wait_for_capacity=options.wait_for_capacity,
        limits=Limits(provision=options.limit_provision, queued=options.limit_queued, run=options.limit_run),
        pace=call.pace,
        labels=dict(_label(text) for text in options.label),
    )
    stop = _Stop(cluster, console)
    running = asyncio.ensure_future(run_task(task, key, how, client=client, on_log=console.print, user_cancelled=stop.by_user))
    # SkyPilot prints as it goes, and stdout is for the result alone.
    with stop.listening(running), redirect_stdout(sys.stderr):
        try:
            result = await running
        except asyncio.CancelledError:
            if not await stop.by_user():
                return ExitCode.STOPPED
            if await client.cluster(cluster) is not None:
                raise SkyTeardownFailed(
                    f"cancelled, and {cluster} is still there; run `python -m sky_orchestrate down {cluster}`"
                ) from None
            console.print(f"cancelled: {cluster} is gone")
            return ExitCode.CANCELLED
    told = json.dumps(result.as_dict(), ensure_ascii=False, indent=2) + "\n"
    if options.result:
        await asyncio.to_thread(_write_whole, options.result, told)
    else:
        sys.stdout.write(told)
    return ExitCode.OK


def shared_name(cluster: str, options: argparse.Namespace, settings: Settings) -> str:
    """SkyPilot's name of a cluster that a run's steps share."""
    if not options.run:
        raise SettingsError(f"--cluster {cluster} is a name within a run; give the run as --run ID")
    return naming.shared_cluster(settings.slug, cluster, owner=settings.owner, run=options.run)


def _key(options: argparse.Namespace, settings: Settings, task: TaskSpec) -> tuple[RunKey, str]:
    """The step's key, and the arguments that lead to it again."""
    if options.run:
        step = options.key or task.name
        shared = ["--cluster", options.cluster] if options.cluster else []
        return RunKey(settings.owner, options.run, step), shlex.join(["--run", options.run, "--key", step, *shared])
    given = options.key or uuid.uuid4().hex[:8]
    return RunKey(settings.owner, f"cli-{given}", task.name), shlex.join(["--key", given])


def _label(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,61}[a-z0-9]", name) or naming.label(value) != value:
        raise SettingsError(f"--label {text}: NAME=VALUE would be right, both of a-z, 0-9, _ and -, at most 63 characters each")
    return name, value


def _write_whole(path: Path, text: str) -> None:
    """Whoever looks finds all of it or nothing."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


class _Stop:
    """Who asked for the end: Ctrl-C is the user, who wants the cluster gone; SIGTERM and SIGHUP only stop this process.

    After Ctrl-C they stop nothing any more: whoever cancels and then ends the process, as Kubernetes does, still gets the cluster gone.
    """

    def __init__(self, cluster: str, console: Console) -> None:
        self._cluster, self._console = cluster, console
        self._user = False

    async def by_user(self) -> bool:
        return self._user

    @contextmanager
    def listening(self, running: asyncio.Future[Any]) -> Generator[None, None, None]:
        loop = asyncio.get_running_loop()
        heard = {signal.SIGINT: self._interrupt, signal.SIGTERM: self._stop, signal.SIGHUP: self._stop}
        # Windows has no such handlers: there KeyboardInterrupt ends the process, and the cluster takes itself down.
        with suppress(NotImplementedError):
            for number, act in heard.items():
                loop.add_signal_handler(number, act, running)
        try:
            yield
        finally:
            # and so none to remove
            with suppress(NotImplementedError):
                for number in heard:
                    loop.remove_signal_handler(number)

    def _stop(self, running: asyncio.Future[Any]) -> None:
        if not self._user:
            running.cancel()

    def _interrupt(self, running: asyncio.Future[Any]) -> None:
        if self._user:
            self._console.print(
                f"stopped: {self._cluster} may still be up and cost money; run `python -m sky_orchestrate down {self._cluster}`",
                style="bold red",
            )
            os._exit(ExitCode.CANCELLED)
        self._user = True
        self._console.print(f"cancelling, and taking {self._cluster} down; Ctrl-C again stops at once", style="bold")
        running.cancel()


def _task(options: argparse.Namespace, settings: Settings) -> TaskSpec:
    # A path on the command line is taken from where the command is given, unless it lies in --base-path.
    path = options.file if options.base_path else os.path.abspath(options.file)
    base = options.base_path
    if base and "://" not in base and os.path.isdir(base):
        base = os.path.abspath(base)
    return load_task(
        path,
        base_path=base,
        git_ref=options.ref,
        envs=dict(_env(text, settings) for text in options.env),
        secrets=dict(_secret(name, settings) for name in options.secret),
        infra=options.infra,
        resources={"accelerators": options.gpus} if options.gpus else None,
        settings=settings,
    )


def _env(text: str, settings: Settings) -> tuple[str, str]:
    name, given, value = text.partition("=")
    if given:
        return name, value
    found = settings.variable(name)
    if not found:
        raise SettingsError(f"--env {name}: the environment has no {name}; write --env {name}=VALUE")
    return name, found


def _secret(name: str, settings: Settings) -> tuple[str, str]:
    if "=" in name:
        raise SettingsError(
            f"--secret {name.partition('=')[0]}: leave the value out, others see it in the list of processes; it comes from the environment"
        )
    found = settings.variable(name)
    if not found:
        raise SettingsError(f"--secret {name}: neither the environment nor .env has a value for {name}")
    return name, found
