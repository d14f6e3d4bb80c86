"""The worker's log, where the jobs' lines go: Temporal itself keeps none."""

from __future__ import annotations

import logging
from collections.abc import Callable

from temporalio import activity

logger = logging.getLogger("temporal.activities")


def teller() -> Callable[[str], None]:
    """Writes lines of this activity, each with its workflow's id."""
    workflow_id = activity.info().workflow_id
    return lambda line: logger.info(f"{workflow_id}: {line}")
