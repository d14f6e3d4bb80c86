"""What `make demo` shows: its steps with their times while they run, the log lines above them, and a table at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Column, Table
from rich.text import Text


@dataclass
class Step:
    """A step that has not begun has no time, and one that runs has no end."""

    began: float | None = None
    ended: float | None = None
    note: str = ""

    @property
    def seconds(self) -> float:
        return 0 if self.began is None else (self.ended or time.monotonic()) - self.began


class Screen:
    """Live on a terminal; elsewhere, such as in CI, a line for each event."""

    def __init__(self, console: Console, steps: Sequence[str]) -> None:
        self._console = console
        self._steps = {name: Step() for name in steps}
        self._spinner = Spinner("dots")
        self._live = Live(console=console, get_renderable=self._progress, refresh_per_second=4, transient=False)

    def __enter__(self) -> Screen:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()

    def begin(self, name: str) -> None:
        step = self._steps[name]
        if step.began is None:
            step.began = time.monotonic()
            self._event(f"{name} ...")

    def end(self, name: str, note: str = "") -> None:
        step = self._steps[name]
        if step.ended is None:
            step.ended, step.note = time.monotonic(), note
            self._event(f"{name} done in {step.seconds:.0f} s {note}".rstrip())

    def line(self, step: str, text: str) -> None:
        """A line of a log."""
        for part in text.splitlines():
            self._console.print(Text.assemble((f"{step[:18]:>18} | ", "dim"), part), soft_wrap=True)

    def say(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style=style), soft_wrap=True)

    def table(self, steps: Mapping[str, Mapping[str, Any]]) -> None:
        """The times of each step of the pipeline, in seconds."""
        columns = ("waited for the cluster", "waited in its queue", "ran")
        table = Table("step", *(Column(name, justify="right") for name in columns), box=None)
        for name, step in steps.items():
            table.add_row(name, *(f"{step['timings'][what]:.1f} s" for what in ("provisioned", "queued", "ran")))
        self._console.print(table)

    def _event(self, text: str) -> None:
        if not self._console.is_terminal:
            self.say(f"== {text}")

    def _progress(self) -> Table:
        table = Table(box=None, show_header=False, pad_edge=False)
        for name, step in self._steps.items():
            if step.ended is not None:
                mark: Any = Text("✓", style="green")
            else:
                mark = self._spinner if step.began is not None else Text("·", style="dim")
            taken = "" if step.began is None else f"{step.seconds:.0f} s"
            table.add_row(mark, Text(name), Text(taken, justify="right"), Text(step.note, style="dim"))
        return table
