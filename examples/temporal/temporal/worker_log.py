"""The worker's log, where the jobs' lines go: Temporal itself keeps none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from temporalio import activity
from temporalio.exceptions import ApplicationError

logger = logging.getLogger("temporal.activities")


def teller() -> Callable[[str], None]:
    """Writes lines of this activity, each with its workflow's id."""
    workflow_id = activity.info().workflow_id
    return lambda line: logger.info(f"{workflow_id}: {line}")


def one_line_per_failure() -> None:
    """Leave out Temporal's own record of a failed or cancelled activity, a traceback, where this package has told its line."""
    logging.getLogger("temporalio.activity").addFilter(_untold)


def _untold(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], (ApplicationError, asyncio.CancelledError)))
