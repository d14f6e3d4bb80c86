"""One call of the command line: what a command is given, and what a script is told of how it ended."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from enum import IntEnum

from rich.console import Console

from sky_orchestrate import errors
from sky_orchestrate.client import Client
from sky_orchestrate.result import Pace
from sky_orchestrate.settings import Settings


@dataclass(frozen=True)
class Invocation:
    """The arguments, the project's settings, the server, where to print, and how patiently to ask."""

    options: argparse.Namespace
    settings: Settings
    client: Client
    console: Console
    pace: Pace


class ExitCode(IntEnum):
    OK = 0
    FAILED = 1
    WRONG_INPUT = 2
    NOT_RUN = 3
    LIMIT = 4
    LEFT_RUNNING = 5
    CANCELLED = 130
    STOPPED = 143


EXPLAINED = """\
exit codes:
  0    success
  1    the job failed, or somebody cancelled it; its own exit code is in the message; doctor: something is missing
  2    wrong input: a task file, a setting or an argument
  3    SkyPilot could not run it: server, credentials, capacity, a lost cluster
  4    a limit was reached
  5    a cluster could not be shown to be gone, and may still cost money
  130  cancelled by Ctrl-C, and taken down
  143  told to stop: the cluster stays, and the same --key attaches to it
"""


def exit_code(error: errors.SkyOrchestrateError) -> ExitCode:
    if isinstance(error, errors.SkyJobFailed):
        return ExitCode.FAILED
    if isinstance(error, (errors.TaskFileError, errors.SettingsError, errors.DuplicateRunKey, errors.LaunchRejected)):
        return ExitCode.WRONG_INPUT
    if isinstance(error, errors.SkyTimeout):
        return ExitCode.LIMIT
    return ExitCode.LEFT_RUNNING if isinstance(error, errors.SkyTeardownFailed) else ExitCode.NOT_RUN
