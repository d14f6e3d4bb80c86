"""What workflow code may not bring along."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT


def test_skypilot_is_not_imported_with_workflows_nor_with_the_commands() -> None:
    modules = "temporal.workflows, temporal.sweep, temporal.reaper, temporal.worker, run_workflow, run_worker"
    asked = f"import sys, {modules}; print(sorted(name for name in sys.modules if name.split('.')[0] == 'sky'))"
    told = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
