"""What can go wrong, each kind saying whether another attempt can help.

Every error that leaves the core is one of these, and its text is one clear line an engineer can act on.
No text of ours ever holds the value of a secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any


class SkyOrchestrateError(Exception):
    """The root of the tree. `retryable` says whether a later attempt may succeed with the same input."""

    retryable: bool = False


class TaskFileError(SkyOrchestrateError):
    """A task file, or what was laid over it, cannot be run: names file, field and what would be right."""

    def __init__(self, source: str, field: str, problem: str, cure: str) -> None:
        self.source, self.field, self.problem, self.cure = source, field, problem, cure
        where = f"{source}: {field}" if field else source
        super().__init__(f"{where}: {problem}; {cure}" if cure else f"{where}: {problem}")

    def __reduce__(self) -> tuple[Any, ...]:
        # Orchestrators pickle errors, and Python would rebuild this one from its text alone.
        return type(self), (self.source, self.field, self.problem, self.cure)


class MissingValue(TaskFileError):
    """An env or secret that the task leaves to its caller, and the caller left out."""


class SourceUnavailable(TaskFileError):
    """The Git repository of a task does not answer just now."""

    retryable = True


class SettingsError(SkyOrchestrateError):
    """A setting is missing or wrong: names the variable and what would be right."""


class DuplicateRunKey(SkyOrchestrateError):
    """The same step was started twice within one run; `key=` tells the two apart."""


class EndpointError(SkyOrchestrateError):
    """The SkyPilot API server cannot be used."""


class EndpointUnreachable(EndpointError):
    """Nothing answers at the endpoint, or it stopped answering for longer than we wait."""

    retryable = True


class EndpointRefused(EndpointError):
    """The server answered 401 or 403: the token is missing, wrong or lacks a right."""


class EndpointIncompatible(EndpointError):
    """The server is too old or too new for this client."""


class EndpointChanged(EndpointError):
    """A second endpoint was asked for in one process: SkyPilot's SDK keeps the first (its get_server_url is cached)."""


class AmbiguousSubmission(EndpointError):
    """A launch or exec was sent and no answer came back: the server may or may not have taken it."""

    retryable = True


class RequestLost(EndpointError):
    """The server no longer knows a request: it restarted, or the request is older than it keeps (24 h)."""

    retryable = True


class StreamRefused(EndpointError):
    """As many logs are followed as this process or the server allows; polling goes on without one."""

    retryable = True


# Whoever cannot be asked cannot be told to take a cluster down: autodown and the reaper can.
OUT_OF_REACH = (EndpointUnreachable, EndpointRefused, EndpointIncompatible, EndpointChanged)


class ClusterGone(SkyOrchestrateError):
    """SkyPilot says that the cluster does not exist or is not up; the runner decides what that means."""

    retryable = True


class LaunchError(SkyOrchestrateError):
    """The cluster did not come up, or the job could not be handed to it."""

    retryable = True


class SkyNoCapacity(LaunchError):
    """No infra had the resources just now."""


class SkyImageUnavailable(LaunchError):
    """The image of a cluster's pods cannot be pulled: there is none of that name, its registry is away, or it wants credentials."""


class SkyForbidden(LaunchError):
    """Kubernetes does not let SkyPilot's account do what a launch takes; nobody gives it that right by trying again."""

    retryable = False


class LaunchRejected(LaunchError):
    """SkyPilot refused the task itself (its resources, name or a policy): the same task is refused again."""

    retryable = False


class SkyClusterLost(SkyOrchestrateError):
    """The cluster went away under a running job: preemption, eviction, somebody's `sky down`."""

    retryable = True


class SkyTimeout(SkyOrchestrateError):
    """A limit was reached, and the cluster was torn down."""


class SkyProvisionTimeout(SkyTimeout):
    """The cluster was not up within the provisioning limit."""

    retryable = True


class SkyQueuedTimeout(SkyTimeout):
    """The job did not start within the limit for queued jobs."""

    retryable = True


class SkyRunTimeout(SkyTimeout):
    """The job ran longer than the run limit; it would again."""


class SkyTeardownFailed(SkyOrchestrateError):
    """The cluster could not be shown to be gone. It may cost money: the text names it and the command to run."""

    retryable = True


class SkyJobFailed(SkyOrchestrateError):
    """The job ended in anything but success.

    `exit_code` is the command's own code where the log tells it, else SkyPilot's (100 failed, 103 cancelled; sky.exceptions.JobExitCode).
    `log_tail` holds the last lines of the job's log, at most 20.
    """

    retryable = True

    def __init__(self, *, cluster_name: str, job_id: int, status: str, exit_code: int, log_tail: Sequence[str] = ()) -> None:
        self.cluster_name, self.job_id, self.status, self.exit_code = cluster_name, job_id, status, exit_code
        self.log_tail = tuple(log_tail)
        last = "".join(f"\n  {line}" for line in self.log_tail)
        super().__init__(
            f"job {job_id} on {cluster_name} ended {status} with exit code {exit_code}" + (f"; its last lines:{last}" if last else "")
        )

    def __reduce__(self) -> tuple[Any, ...]:
        told = {"cluster_name": self.cluster_name, "job_id": self.job_id, "status": self.status, "exit_code": self.exit_code}
        return partial(type(self), **told, log_tail=self.log_tail), ()


class SkyJobCancelled(SkyJobFailed):
    """Somebody cancelled the job by hand: starting it again is theirs to decide."""

    retryable = False
