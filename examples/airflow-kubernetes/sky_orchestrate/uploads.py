"""Where a task's files come from, settled before launch: a public repository by its commit, anything else from this host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from sky_orchestrate.errors import TaskFileError
from sky_orchestrate.source import Checkout, refuse_credentials
from sky_orchestrate.task_file import Config

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|skypilot:")


def settle_uploads(config: Config, root: Path | None, checkout: Checkout | None, source: str) -> None:
    """Check every local path of the task, and let the cluster fetch a public repository itself, at the commit it resolved to."""
    workdir = config.get("workdir")
    if isinstance(workdir, dict):
        _check_git_workdir(cast("dict[str, Any]", workdir), source)
    elif isinstance(workdir, str):
        folder = _local(workdir, root, checkout, source, "workdir")
        if folder is not None and not folder.is_dir():
            raise TaskFileError(
                source, "workdir", f"no folder {workdir!r} in {root}", "it is taken from the project's or repository's root"
            )
        if checkout is not None and folder is not None and folder.resolve() == checkout.folder.resolve():
            config["workdir"] = checkout.origin.workdir if checkout.public else "."
    for field, path in _mounted(config.get("file_mounts", {}), source):
        found = _local(path, root, checkout, source, field)
        if found is not None and not found.exists():
            raise TaskFileError(
                source, field, f"no file or folder {path!r} in {root}", "it is taken from the project's or repository's root"
            )


def _check_git_workdir(workdir: dict[str, Any], source: str) -> None:
    unknown = [name for name in workdir if name not in ("url", "ref")]
    if unknown or not isinstance(workdir.get("url"), str) or not isinstance(workdir.get("ref", ""), str):
        field = f"workdir.{unknown[0]}" if unknown else "workdir"
        raise TaskFileError(
            source, field, "a Git workdir has a `url` and a `ref`, both text", "write {url: https://..., ref: main}, or a folder"
        )
    refuse_credentials(workdir["url"], source, "workdir.url")


def _mounted(mounts: dict[str, Any], source: str) -> Iterator[tuple[str, str]]:
    """The sources of the file mounts that may be local, each with its field."""
    for target, mounted in mounts.items():
        field = f"file_mounts.{target}"
        sources = cast("dict[str, Any]", mounted).get("source") if isinstance(mounted, dict) else mounted
        for one in cast("list[Any]", sources) if isinstance(sources, list) else [sources]:
            if isinstance(one, str):
                yield field, one
            elif one is not None or not isinstance(mounted, dict):
                raise TaskFileError(
                    source, field, "its source is no text", "a path, a bucket's URL, or a mapping such as {name: my-bucket, mode: MOUNT}"
                )


def _local(path: str, root: Path | None, checkout: Checkout | None, source: str, field: str) -> Path | None:
    """The path on this host; None for a URL, and where a secret's value still has to be filled in."""
    if _URL.match(path) or "$" in path:
        return None
    expanded = Path(path).expanduser()
    if expanded.is_absolute():
        return expanded
    if root is None:
        raise TaskFileError(
            source,
            field,
            f"{path!r} is relative, and this text lies in no folder",
            "give base_path (a folder or a Git URL), or an absolute path",
        )
    found = root / expanded
    if checkout is not None and not found.resolve().is_relative_to(checkout.folder.resolve()):
        raise TaskFileError(source, field, f"{path!r} leads out of the repository", "name a path inside it")
    return found
