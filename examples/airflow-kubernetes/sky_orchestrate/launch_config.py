"""What is sent to SkyPilot for a TaskSpec: its configuration, named for the run, labelled, with local paths made absolute."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from sky_orchestrate.task import TaskSpec

# A URL, or what SkyPilot still has to put a secret into.
_NOT_LOCAL = re.compile(r"[a-z][a-z0-9+.-]*://|skypilot:|\$", re.IGNORECASE)


def launch_config(task: TaskSpec, *, job_name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """A configuration for `sky.Task.from_yaml_config`, free of secrets' values."""
    config = copy.deepcopy(dict(task.config))
    config["name"] = job_name
    if task.root is not None:
        _take_paths_from(task.root, config)
    if labels:
        resources: dict[str, Any] = config.get("resources") or {}
        config["resources"] = {**resources, "labels": {**(resources.get("labels") or {}), **labels}}
    return config


def _take_paths_from(root: Path, config: dict[str, Any]) -> None:
    if isinstance(config.get("workdir"), str):
        config["workdir"] = _absolute(root, config["workdir"])
    mounts: dict[str, Any] = config.get("file_mounts") or {}
    for target, mounted in mounts.items():
        if not isinstance(mounted, dict):
            mounts[target] = _absolute(root, mounted)
        elif "source" in mounted:
            mounted["source"] = _absolute(root, cast("dict[str, Any]", mounted)["source"])


def _absolute(root: Path, path: Any) -> Any:
    """A mount's source is a path or URL, or a list of them."""
    if isinstance(path, list):
        return [_absolute(root, one) for one in cast("list[Any]", path)]
    return path if not isinstance(path, str) or _NOT_LOCAL.match(path) else str((root / Path(path).expanduser()).resolve())
