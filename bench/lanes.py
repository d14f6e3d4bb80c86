"""How long a bake, a baked project's fast tests and the template's `make test` take, all warm. Run by the template's Python."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from figures import Figure, report, say

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    project, out = Path(sys.argv[1]), Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        bakes = [
            _seconds([sys.executable, ROOT / "bake.py", Path(folder) / str(number) / "sky-train-pipeline"], ROOT) for number in range(5)
        ]
    say(f"a bake: {statistics.median(bakes):.2f} s")
    figures = [
        Figure("a bake, with its process", statistics.median(bakes), "s", most=1),
        Figure("the fast tests of a generated project", _warm(["make", "--no-print-directory", "test"], project), "s", most=30),
        Figure("the template's `make test`", _seconds(["make", "--no-print-directory", "test"], ROOT), "s", most=180),
    ]
    report(out, figures)


def _warm(command: Sequence[str], folder: Path) -> float:
    """The second of two runs, with what Python compiled kept as it is for a user."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    _seconds(command, folder, environment)
    return _seconds(command, folder, environment)


def _seconds(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None) -> float:
    began = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command} failed: {(done.stdout + done.stderr)[-2000:]}")
    return time.monotonic() - began


if __name__ == "__main__":
    main()
