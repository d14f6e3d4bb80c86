"""A SkyPilot task file plus what is laid over it, settled into a TaskSpec before anything is launched.

Where the workload comes from is settled here too: a Git source is pinned to the commit it resolved to, a project's own task
takes its local paths from the project's root, and text with local paths and neither of these is refused.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sky_orchestrate import overrides, source, task_file
from sky_orchestrate.errors import TaskFileError
from sky_orchestrate.settings import Settings
from sky_orchestrate.source import Origin
from sky_orchestrate.uploads import settle_uploads

_INLINE = "task YAML"


@dataclass(frozen=True)
class TaskSpec:
    """One SkyPilot task, checked and settled: the same on every worker that loads it.

    `config` is the task as SkyPilot's YAML has it with envs and infra laid over it; never a secret's value. A local workdir or file
    mount stays relative in it and is taken from `root` at launch, so that the digest is the same on hosts with another path.
    `origin` is the Git repository it came from, if any.
    """

    name: str
    source: str
    config: Mapping[str, Any]
    root: Path | None = None
    secrets: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    origin: Origin | None = None

    @property
    def digest(self) -> str:
        """Stands for what the task does. A branch that moved on does not change it, so a retry finds the cluster of the attempt before."""
        config = dict(self.config)
        asked = [self.origin.url, self.origin.ref] if self.origin else []
        if self.origin and config.get("workdir") == self.origin.workdir:
            config["workdir"] = "."
        return _digest([config, asked])

    @property
    def setup_digest(self) -> str:
        """Equal for two tasks where the second may use the first one's cluster without setting it up again."""
        resources: dict[str, Any] = self.config.get("resources") or {}
        setup = str(self.config.get("setup") or "")
        envs: dict[str, str] = self.config.get("envs") or {}
        used = {name: value for name, value in envs.items() if re.search(rf"\b{name}\b", setup)}
        mounts: list[Any] = [self.config.get(name) or {} for name in ("file_mounts", "volumes", "volume_mounts")]
        nodes = [self.config.get("num_nodes") or 1, resources.get("image_id")]
        return _digest([setup, used, sorted(self.secrets) if setup else [], mounts, nodes])


@dataclass(frozen=True)
class TaskText:
    """A task file's text, what to call it in an error, and the commit it stands at where it comes from Git (else empty)."""

    text: str
    source: str
    commit: str = ""


def read_task(
    yaml_path: str | Path, *, base_path: str | Path | None = None, git_ref: str | None = None, settings: Settings, run: str | None = None
) -> TaskText:
    """The text of a task file, for `load_task(yaml_text=)` on another worker. Blocks while Git fetches; raises TaskFileError."""
    place = _place(yaml_path, base_path, git_ref, {}, run, settings)
    assert place.file is not None
    return TaskText(_read(place, place.file), place.said, place.checkout.origin.commit if place.checkout else "")


def load_task(
    yaml_path: str | Path | None = None,
    *,
    base_path: str | Path | None = None,
    yaml_text: str | None = None,
    said: str | None = None,
    git_ref: str | None = None,
    envs: Mapping[str, Any] | None = None,
    secrets: Mapping[str, str] | None = None,
    infra: str | None = None,
    resources: Mapping[str, Any] | None = None,
    settings: Settings,
    run: str | None = None,
) -> TaskSpec:
    """The task of a file (`yaml_path`, below `base_path`: a folder or a Git URL) or of `yaml_text`. Blocks while Git fetches.

    `said` is what errors call `yaml_text`. A relative path is taken from the project's root. A run's id as `run` keeps a branch at one
    commit for all of the run on this host. Raises TaskFileError naming file, field and what would be right.
    """
    if (yaml_path is None) == (yaml_text is None):
        raise TaskFileError(_INLINE, "", "a task comes from yaml_path or from yaml_text", "give exactly one of them")
    place = _place(yaml_path, base_path, git_ref, secrets or {}, run, settings, said or _INLINE)
    text = yaml_text or "" if place.file is None else _read(place, place.file)
    config = task_file.read(text, place.said)
    name = _name(config, place)
    overrides.lay_envs(config, envs or {}, secrets or {}, place.said)
    overrides.lay_bucket(config, settings, place.said)
    overrides.refuse_missing_envs(config, place.said)
    given = overrides.take_secrets(config, secrets or {}, place.said)
    overrides.lay_resources(config, resources or {}, place.said)
    overrides.lay_infra(config, infra or settings.infra, place.said)
    overrides.fill_in_envs(config)
    settle_uploads(config, place.root, place.checkout, place.said)
    origin = place.checkout.origin if place.checkout else None
    return TaskSpec(name, place.said, copy.deepcopy(config), place.root, given, origin)


@dataclass(frozen=True)
class _Place:
    """Where a task stands: its file, what to call it in an error, and the root of its local paths."""

    said: str
    file: Path | None
    root: Path | None
    checkout: source.Checkout | None = None


def _place(
    yaml_path: str | Path | None,
    base_path: str | Path | None,
    git_ref: str | None,
    secrets: Mapping[str, str],
    run: str | None,
    settings: Settings,
    inline: str = _INLINE,
) -> _Place:
    said = inline if yaml_path is None else str(yaml_path)
    if base_path is not None and source.is_git_url(str(base_path)):
        access = source.Access(secrets.get("GIT_TOKEN") or settings.variable("GIT_TOKEN"), settings.variable("GIT_SSH_KEY_PATH"))
        checkout = source.checkout(str(base_path), git_ref or "", access, run=run)
        said = f"{said} of {checkout.origin.said}"
        if yaml_path is None:
            return _Place(said, None, checkout.folder, checkout)
        file = (checkout.folder / yaml_path).resolve()
        if not file.is_relative_to(checkout.folder.resolve()):
            raise TaskFileError(
                said, "yaml_path", "leads out of the repository", "give the file's path inside it, such as tasks/train.yaml"
            )
        return _Place(said, file, checkout.folder, checkout)
    if git_ref:
        raise TaskFileError(
            said, "git_ref", "is given, and base_path is no Git URL", "give base_path as https://, ssh:// or file://, or leave the ref out"
        )
    base = settings.root / Path(base_path).expanduser() if base_path is not None else settings.root
    if base_path is not None and not base.is_dir():
        raise TaskFileError(
            said, "base_path", f"no folder {base}", "it would be right as a folder, relative to the project's root, or a Git URL"
        )
    if yaml_path is None:
        return _Place(said, None, base if base_path is not None else None)
    file = base / Path(yaml_path).expanduser()
    if file.resolve().is_relative_to(settings.root.resolve()):
        return _Place(file.resolve().relative_to(settings.root.resolve()).as_posix(), file, settings.root)
    return _Place(said, file, base if base_path is not None else file.parent)


def _read(place: _Place, file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        near = sorted(path.name for path in file.parent.glob("*.y*ml"))[:8]
        cure = f"{file.parent.name}/ has {', '.join(near)}" if near else "give a path from the project's root, such as tasks/train.yaml"
        raise TaskFileError(place.said, "", "no such file", cure) from None
    except (OSError, UnicodeDecodeError) as error:
        problem = "is a folder" if file.is_dir() else f"cannot be read ({type(error).__name__})"
        raise TaskFileError(place.said, "", problem, "give a readable UTF-8 YAML file") from None


def _name(config: dict[str, Any], place: _Place) -> str:
    if "name" not in config:
        stem = place.file.stem if place.file else "task"
        config["name"] = "-".join(re.findall(r"[a-zA-Z0-9]+", stem)) or "task"
    return str(config["name"])


def _digest(of: Any) -> str:
    canonical = json.dumps(of, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
