"""The core's errors as Temporal has them: a type to go by, details to read, and whether another attempt can help."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from temporalio import activity
from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError

from sky_orchestrate import errors
from sky_orchestrate.errors import SkyJobFailed, SkyOrchestrateError
from temporal.worker_log import teller


def application_error(error: SkyOrchestrateError) -> ApplicationError:
    """The same error for a history. Of a failed job the details hold what the text of the error would repeat."""
    return ApplicationError(
        str(error).splitlines()[0].removesuffix("; its last lines:"),
        *details(error),
        type=type(error).__name__,
        non_retryable=not error.retryable,
    )


@contextmanager
def told_to_temporal() -> Iterator[None]:
    """Errors of the core leave an activity as Temporal's, and one line of the worker's log tells of them."""
    try:
        yield
    except SkyOrchestrateError as error:
        made = application_error(error)
        teller()(f"{activity.info().activity_type} failed: {made.message}")
        # What was below says nothing more to whoever reads the history.
        raise made from None


def details(error: SkyOrchestrateError) -> list[dict[str, Any]]:
    if not isinstance(error, SkyJobFailed):
        return []
    told = {"cluster_name": error.cluster_name, "job_id": error.job_id, "status": error.status, "exit_code": error.exit_code}
    return [{**told, "log_tail": list(error.log_tail)}]


def innermost(error: BaseException) -> BaseException:
    """Why an activity or a child workflow failed.

    A teardown that failed stands before what it followed, for its cluster may still cost money.
    """
    while isinstance(error, (ActivityError, ChildWorkflowError)) and error.__cause__ is not None:
        error = error.__cause__
    return error


def names_of(*kinds: type[SkyOrchestrateError]) -> frozenset[str]:
    """The types, as ApplicationError has them, of these errors and of all their kinds."""
    found = set(kinds)
    for kind in kinds:
        stack = [kind]
        while stack:
            below = stack.pop().__subclasses__()
            found.update(below)
            stack.extend(below)
    return frozenset(kind.__name__ for kind in found)


OUT_OF_REACH = names_of(*errors.OUT_OF_REACH)
# The cluster goes down before the next attempt: the activity alone must not be tried again.
ENDS_THE_STEP = names_of(errors.SkyJobFailed, errors.LaunchError, errors.SkyTimeout, errors.SkyClusterLost, errors.ClusterGone)
# On a cluster that several steps share, these end the step and leave the cluster for its next attempt.
LEAVES_THE_CLUSTER = names_of(errors.SkyJobFailed)
