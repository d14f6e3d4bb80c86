"""How a step is run: settings in, log lines and `::sky-output::` lines out, and one line for an error."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from workload.bucket import forget_empty_credentials
from workload.errors import WorkloadError
from workload.settings import Settings, load_settings


def run(step: Callable[[Settings], None]) -> NoReturn:
    forget_empty_credentials(os.environ)
    logging.disable(logging.CRITICAL)  # the stores' clients log a traceback for each retry; what they end with is in our one line
    try:
        step(load_settings(os.environ))
    except WorkloadError as error:
        sys.stdout.flush()
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
    sys.exit(0)


def log(line: str) -> None:
    print(line, flush=True)


def output(**values: object) -> None:
    """Hand results to whoever reads the job's log: the orchestrator returns them as the step's outputs."""
    log(f"::sky-output::{json.dumps(values, allow_nan=False)}")
