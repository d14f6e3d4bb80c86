"""A job's log as an engineer wants to read it: in order, once, without terminal colours.

SkyPilot streams a job's log from its first line each time, with no offset, and its lines are the same live and replayed. So lines are
counted here, and after a reconnect the ones already shown are skipped.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

from sky_orchestrate.outputs import parse_output, strip_terminal

TAIL_LINES = 20
_PROGRESS_SECONDS = 1.0
# Shorter values would blank out ordinary words.
_SHORTEST_SECRET = 4
# The runtime's own words around a job, not the job's.
_RETURN_CODES = re.compile(r"failed with return code(?: list:\s*\[([\d, -]+)\]| (\d+))")
_STARTED = re.compile(r"Job started\. Streaming logs")
# tqdm and its like redraw one line: SkyPilot hands each state over as a line of its own.
_PROGRESS = re.compile(r"\d+%\|.*\||^\s*\d+%\s*$|^\s*\d+/\d+\s*$")


class JobLog:
    """One job's log over all its streams: what to show, the outputs it declares, its last lines and its exit code.

    `shown` are the raw lines that an earlier attempt has shown: they count for the rest, and are not shown again.
    """

    def __init__(
        self,
        job_name: str,
        on_log: Callable[[str], None],
        *,
        secrets: Collection[str] = (),
        shown: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._prefix = re.compile(rf"^\({re.escape(job_name)}, pid=\d+\) ?")
        self._on_log, self._clock = on_log, clock
        # A job may print what it was given; longest first, as one secret may be a part of another.
        self._secrets = sorted((secret for secret in secrets if len(secret) >= _SHORTEST_SECRET), key=len, reverse=True)
        self._seen = 0
        self._shown = shown
        self._position = 0
        self._progress: str | None = None
        self._progress_shown_at = float("-inf")
        self.outputs: dict[str, Any] = {}
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.exit_code: int | None = None
        self.started = False

    @property
    def lines(self) -> int:
        """Raw lines seen so far."""
        return self._seen

    def restart(self) -> None:
        """A new stream begins, from the job's first line."""
        self._position = 0

    def begin_anew(self) -> None:
        """Another job's log begins."""
        self._seen = self._position = self._shown = 0
        self.outputs.clear()
        self.tail.clear()
        self.exit_code, self.started = None, False

    def feed(self, raw: str) -> None:
        """Take the stream's next line, without its line break."""
        self._position += 1
        if self._position <= self._seen:
            # A stream may have ended before the runtime wrote why, and that stands above the last line.
            self._note_exit_code(strip_terminal(raw))
            return
        self._seen = self._position
        line = self._prefix.sub("", strip_terminal(raw).rstrip("\r").rsplit("\r", 1)[-1])
        for secret in self._secrets:
            line = line.replace(secret, "***")
        self._note(line)
        if _PROGRESS.search(line):
            self._hold(line)
        else:
            self.flush()
            self._show(line)

    def flush(self) -> None:
        """Show the last state of a progress bar, if one is held back."""
        if self._progress is not None:
            held, self._progress = self._progress, None
            self._show(held)

    def _hold(self, line: str) -> None:
        self._progress = line
        if self._clock() - self._progress_shown_at >= _PROGRESS_SECONDS:
            self._progress_shown_at = self._clock()
            self.flush()

    def _note(self, line: str) -> None:
        if _STARTED.search(line):
            self.started = True
        self._note_exit_code(line)
        output = parse_output(line)
        if output:
            self.outputs.update(output)

    def _note_exit_code(self, line: str) -> None:
        codes = _RETURN_CODES.search(line)
        if codes:
            self.exit_code = next((int(code) for code in (codes[1] or codes[2]).split(",") if code.strip() not in ("", "0")), None)

    def _show(self, line: str) -> None:
        self.tail.append(line)
        if self._seen > self._shown:
            self._on_log(line)
