"""`python -m sky_orchestrate run|logs|status|down|reap|doctor`: one task with all that a pipeline's step has, and what goes with it."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from rich.console import Console

from sky_orchestrate import __version__, commands, errors
from sky_orchestrate.client import Client, connect
from sky_orchestrate.invocation import EXPLAINED, ExitCode, Invocation, exit_code
from sky_orchestrate.result import Pace
from sky_orchestrate.run_command import run
from sky_orchestrate.settings import Settings, load_settings

_DURATION = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>[smhd]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}

_RUN = """\
Run one SkyPilot task: launch it, follow its log, and take its cluster down whatever comes. The log goes to stderr, and the result to
stdout as JSON. Ctrl-C cancels the job and takes the cluster down; a second Ctrl-C stops at once and tells what remains.
"""


def main(arguments: Sequence[str] | None = None, *, connect: Callable[[Settings], Client] = connect, pace: Pace = Pace()) -> int:
    """The command line. Every error of ours is one line on stderr."""
    options = _parser().parse_args(arguments)
    console = _console(stderr=options.command is run)
    try:
        settings = load_settings().at(options.endpoint)
        return int(asyncio.run(options.command(Invocation(options, settings, connect(settings), console, pace))))
    except errors.SkyOrchestrateError as error:
        # The last lines of a failed job's log have just been shown.
        _console(stderr=True).print(f"error: {str(error).splitlines()[0].removesuffix('; its last lines:')}", style="bold red")
        return int(exit_code(error))
    except KeyboardInterrupt:
        return int(ExitCode.CANCELLED)


def _console(*, stderr: bool) -> Console:
    """Prints text as it stands, whatever a job puts into it."""
    return Console(stderr=stderr, soft_wrap=True, highlight=False, markup=False, emoji=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sky_orchestrate", description=__doc__, epilog=EXPLAINED, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"sky_orchestrate {__version__}")
    kinds = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str, command: Callable[[Invocation], Awaitable[ExitCode]], summary: str, description: str = ""
    ) -> argparse.ArgumentParser:
        made = kinds.add_parser(
            name,
            help=summary,
            description=description or f"{summary[0].upper()}{summary[1:]}.",
            epilog=EXPLAINED,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.add_argument("--endpoint", metavar="URL", help="the SkyPilot API server, in place of SKYPILOT_API_SERVER_ENDPOINT")
        made.set_defaults(command=command)
        return made

    _add_run(add("run", run, "run one task file, and leave nothing running", _RUN))
    down = add("down", commands.down, "take clusters down, and verify that they are gone")
    down.add_argument("clusters", nargs="+", metavar="NAME", help="a cluster's name")
    down.add_argument("--run", metavar="ID", help="the names are those that steps of this run gave with --cluster")
    logs = add("logs", commands.logs, "print the log of the newest job on a cluster")
    logs.add_argument("cluster", metavar="NAME", help="the cluster's name")
    logs.add_argument("--run", metavar="ID", help="the name is one that steps of this run gave with --cluster")
    status = add("status", commands.status, "list this project's clusters")
    status.add_argument("--run", metavar="ID", help="those of this run alone")
    reap = add("reap", commands.reap, "take down this project's clusters whose run ended or was lost")
    reap.add_argument("--dry-run", action="store_true", help="tell what would be taken down, and do nothing")
    reap.add_argument("--run", metavar="ID", help="the clusters of this run, now, without asking the orchestrator")
    doctor = add("doctor", commands.doctor, "tell whether this project can run here, and what to do where it cannot")
    doctor.add_argument("tasks", nargs="*", type=Path, metavar="FILE", help="the task files to look at (default: tasks/*.yaml)")
    return parser


def _add_run(run: argparse.ArgumentParser) -> None:
    what = run.add_argument_group("what is run")
    what.add_argument("file", metavar="FILE", help="a SkyPilot task file; with --base-path, its path there")
    what.add_argument("--base-path", metavar="PATH", help="the folder or Git URL that FILE lies in")
    what.add_argument("--ref", metavar="REF", help="the branch, tag or commit of the Git URL")
    what.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="an env of the task; NAME alone takes the environment's value"
    )
    what.add_argument(
        "--secret", action="append", default=[], metavar="NAME", help="a secret of the task, its value from the environment or .env"
    )
    where = run.add_argument_group("where, and for how long")
    where.add_argument("--infra", metavar="INFRA", help="k8s/context, aws/us-east-1, slurm/cluster ..., in place of the task's own")
    where.add_argument("--gpus", metavar="NAME:COUNT", help="accelerators in place of the task's own, such as H100:2")
    where.add_argument("--wait-for-capacity", action="store_true", help="ask again until there is capacity")
    where.add_argument("--limit-provision", type=_duration, metavar="TIME", help="the longest wait for the cluster, such as 90s, 30m or 2h")
    where.add_argument("--limit-queued", type=_duration, metavar="TIME", help="the longest wait in the cluster's queue")
    where.add_argument("--limit-run", type=_duration, metavar="TIME", help="the longest the job may run")
    where.add_argument("--idle-minutes", type=int, choices=range(1, 1441), metavar="N", help="autodown after so many idle minutes")
    where.add_argument("--keep", action="store_true", help="leave the cluster up, on purpose")
    where.add_argument("--key", metavar="KEY", help="a name for this run: the same key attaches to what it started before")
    pipeline = run.add_argument_group("as a step of a pipeline")
    pipeline.add_argument("--run", metavar="ID", help="the orchestrator's run; --key then names the step in it (default: the task's name)")
    pipeline.add_argument(
        "--cluster",
        metavar="NAME",
        help="a cluster that steps of the run share; it stays up until `down --run`",
    )
    pipeline.add_argument(
        "--label", action="append", default=[], metavar="NAME=VALUE", help="a mark of the orchestrator's own on the cluster"
    )
    pipeline.add_argument("--result", type=Path, metavar="FILE", help="where the result goes, whole or not at all, in place of stdout")
    pipeline.add_argument(
        "--error", type=Path, metavar="FILE", help="where an error goes, as JSON that says whether another attempt can help"
    )


def _duration(text: str) -> float:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; 90s, 30m, 2h and 1d are right")
    return float(match["number"]) * _SECONDS[match["unit"]]


if __name__ == "__main__":
    sys.exit(main())
