"""What a part of the benchmark found: figures with their targets, and sentences that explain them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One number. `most` is the target; None where the number only explains another."""

    what: str
    value: float
    unit: str = ""
    most: float | None = None

    @property
    def reached(self) -> bool:
        return self.most is None or self.value <= self.most

    def row(self) -> str:
        """A line of the Markdown table."""
        target = "" if self.most is None else f"<= {self.most:g}{self._unit}"
        verdict = "" if self.most is None else "yes" if self.reached else "**no**"
        return f"| {self.what} | {self._rounded()}{self._unit} | {target} | {verdict} |"

    @property
    def _unit(self) -> str:
        return f" {self.unit}" if self.unit else ""

    def _rounded(self) -> str:
        return f"{self.value:.0f}" if abs(self.value) >= 100 else f"{self.value:.1f}" if abs(self.value) >= 10 else f"{self.value:.2f}"


def report(out: Path, figures: Sequence[Figure], notes: Sequence[str] = ()) -> None:
    """Leave a part's findings where bench/run.py collects them."""
    out.write_text(json.dumps({"figures": [asdict(figure) for figure in figures], "notes": list(notes)}, indent=2) + "\n")


def collect(found: Path) -> tuple[list[Figure], list[str]]:
    data = json.loads(found.read_text())
    return [Figure(**figure) for figure in data["figures"]], data["notes"]


def say(text: str) -> None:
    """Progress, while a part runs."""
    print(f"  {text}", file=sys.stderr, flush=True)
