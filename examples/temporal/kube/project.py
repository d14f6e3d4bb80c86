"""What deploying knows of the project: its name, its folders and the namespaces made of its name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sky_orchestrate.settings import load_settings

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Project:
    root: Path
    slug: str

    @property
    def manifests(self) -> Path:
        return self.root / "manifests"

    @property
    def namespaces(self) -> tuple[str, str]:
        """The orchestrator's, and SkyPilot's."""
        return self.slug, f"{self.slug}-skypilot"

    @property
    def gpu(self) -> str:
        """What the training asks for, such as H100; empty where it asks for none."""
        task: dict[str, Any] = yaml.safe_load((self.root / "tasks" / "train.yaml").read_text(encoding="utf-8"))
        return str(task["resources"].get("accelerators") or "").partition(":")[0]


def here() -> Project:
    return Project(ROOT, load_settings(root=ROOT).slug)
