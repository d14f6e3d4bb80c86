"""What is sent to SkyPilot for a TaskSpec: its configuration, named for the run, labelled, with local paths made absolute."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sky_orchestrate.task import TaskSpec

_URL = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def launch_config(task: TaskSpec, *, job_name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """A configuration for `sky.Task.from_yaml_config`, free of secrets' values."""
    config = copy.deepcopy(dict(task.config))
    config["name"] = job_name
    if task.root is not None:
        _take_paths_from(task.root, config)
    if labels:
        resources = config.get("resources") or {}
        config["resources"] = {**resources, "labels": {**(resources.get("labels") or {}), **labels}}
    return config


def _take_paths_from(root: Path, config: dict[str, Any]) -> None:
    if isinstance(config.get("workdir"), str):
        config["workdir"] = _absolute(root, config["workdir"])
    for target, source in (config.get("file_mounts") or {}).items():
        if isinstance(source, str):
            config["file_mounts"][target] = _absolute(root, source)
        elif isinstance(source, dict) and isinstance(source.get("source"), str):
            source["source"] = _absolute(root, source["source"])


def _absolute(root: Path, path: str) -> str:
    return path if _URL.match(path) else str((root / Path(path).expanduser()).resolve())
