"""What a job hands back: lines `::sky-output::{"accuracy": 0.97}` in its log. Later keys win."""

from __future__ import annotations

import json
import logging
import math
import re
from typing import Any, NoReturn, cast

MARKER = "::sky-output::"

_log = logging.getLogger(__name__)
# CSI sequences (colours, cursor), OSC sequences (titles, links), and the two-character ones.
_TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_PREFIX = re.compile(r"\([^()]{1,200}, pid=\d+(?:, ip=[^()\s]+)?\) ?")


def strip_terminal(line: str) -> str:
    """`line` without colours, cursor movements and other terminal codes."""
    return _TERMINAL.sub("", line) if "\x1b" in line else line


def parse_output(line: str) -> dict[str, Any] | None:
    """The outputs a log line declares, with or without SkyPilot's `(name, pid=1) ` before them; None for any other line.

    What follows the marker and is no JSON object is warned of, and is no output.
    """
    if MARKER not in line:
        return None
    said = strip_terminal(line).strip()
    prefix = _PREFIX.match(said)
    said = said[prefix.end() :] if prefix else said
    if not said.startswith(MARKER):
        return None
    try:
        found: object = json.loads(said.removeprefix(MARKER), parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        _log.warning("the job printed %s and no JSON object after it, so it is no output: %.200s", MARKER, said)
        return None
    return cast("dict[str, Any]", found)


def figure(value: object) -> float | None:
    """An output as a figure to show or to rank by; None where it is no finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def _finite(number: str) -> float:
    found = float(number)
    if not math.isfinite(found):
        _refuse(number)
    return found


def _refuse(name: str) -> NoReturn:
    # NaN and Infinity, which 1e999 would be written again as, are no JSON, and would not survive an orchestrator's database.
    raise ValueError(name)
