"""A furnished .local/ of a project of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.place import Place

PORTS = {"api": 46600, "ssh": 12600, "slurmctld": 16900, "slurmd-H100": 16950, "slurmd-A100": 16951}


@pytest.fixture
def here(tmp_path: Path) -> Place:
    """A furnished .local/ of a project of its own."""
    (tmp_path / "tasks").mkdir()
    found = Place(tmp_path / ".local", tmp_path / ".local")
    found.make_folders()
    return found
