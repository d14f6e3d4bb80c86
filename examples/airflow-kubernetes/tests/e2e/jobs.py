"""Tiny jobs that leave a trace on this machine, so that how often one really ran does not hang on what any server says."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import indent


@dataclass(frozen=True)
class Job:
    """A task whose name no other test has. It notes when it begins and ends, and what `run` says comes between."""

    folder: Path
    run: str = ""
    setup: str = ""
    more: str = ""
    name: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:8]}")

    @property
    def trace(self) -> Path:
        return self.folder / f"{self.name}.trace"

    @property
    def gate(self) -> Path:
        return self.folder / f"{self.name}.gate"

    @property
    def yaml(self) -> str:
        run = f"set -euo pipefail\necho begun >> {self.trace}\n{self.run}\necho ended >> {self.trace}"
        parts = [f"name: {self.name}", self.more]
        for key, text in (("setup", self.setup), ("run", run)):
            parts.append(f"{key}: |\n{indent(text, '  ')}" if text else "")
        return "\n".join(part for part in parts if part) + "\n"

    def gated(self) -> Job:
        """The same job, which ends once `open_gate` is called (or after ten minutes, for its machine's sake)."""
        wait = f"for i in $(seq 1200); do [ ! -e {self.gate} ] || break; echo waiting $i; sleep 0.5; done"
        return replace(self, run=f"{wait}\n{self.run}")

    def open_gate(self) -> None:
        self.gate.touch()

    @property
    def began(self) -> int:
        """How many times it has begun, on any cluster."""
        return self._count("begun")

    @property
    def ended(self) -> int:
        return self._count("ended")

    def _count(self, word: str) -> int:
        return self.trace.read_text().split().count(word) if self.trace.exists() else 0
