"""What Temporal says of an activity that failed, and what it need not say again."""

from __future__ import annotations

import asyncio
import logging

import pytest
from temporalio.exceptions import ApplicationError

from temporal.worker_log import one_line_per_failure


@pytest.mark.parametrize(
    ("error", "told"),
    [
        pytest.param(ApplicationError("job 1 ended FAILED", type="SkyJobFailed"), 0, id="failed"),
        pytest.param(asyncio.CancelledError(), 0, id="cancelled"),
        pytest.param(KeyError("a mistake in the code"), 1, id="a bug"),
    ],
)
def test_only_what_nobody_expected_has_a_traceback(error: BaseException, told: int, caplog: pytest.LogCaptureFixture) -> None:
    one_line_per_failure()
    logging.getLogger("temporalio.activity").warning("Completing activity as failed", exc_info=error)
    assert len(caplog.records) == told
