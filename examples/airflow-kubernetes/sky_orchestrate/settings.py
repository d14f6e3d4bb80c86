"""Everything a project sets once: the environment first, then `.env`, then pyproject.toml's [tool.sky-orchestrate].

Each wrong value is one SettingsError that names the variable and what would be right. Where the infra is `local`, the
endpoint is the local SkyPilot's, as `make local-up` left it in `.local/env`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from sky_orchestrate import bucket, dotenv
from sky_orchestrate.errors import SettingsError
from sky_orchestrate.fields import infra_problem

DEFAULT_ENDPOINT = "http://127.0.0.1:46580"
_ENDPOINT = "SKYPILOT_API_SERVER_ENDPOINT"
_INFRA = "SKY_ORCHESTRATE_INFRA"
_LOCAL = "SKY_ORCHESTRATE_LOCAL"
_DEFAULT_ENDPOINTS = ("", DEFAULT_ENDPOINT, "http://localhost:46580")


@dataclass(frozen=True)
class Settings:
    """A project's settings. `variables` holds what its .env says beside them, such as tokens, and is never shown."""

    root: Path
    slug: str
    owner: str
    endpoint: str = DEFAULT_ENDPOINT
    infra: str | None = None
    bucket: str = ""
    local: bool = False
    idle_minutes: int = 10
    log_streams: int = 16
    launches: int = 4
    status_requests: int = 8
    reaper_grace: float = 300
    run_state: str = ""
    variables: Mapping[str, str] = field(default_factory=dict[str, str], repr=False, compare=False)

    def variable(self, name: str) -> str:
        """A variable of the environment, else of .env; empty where neither has it."""
        return os.environ.get(name) or self.variables.get(name, "")

    def at(self, endpoint: str | None) -> Settings:
        """The same settings at another endpoint, if one is given."""
        return replace(self, endpoint=_endpoint(endpoint, "api_server_endpoint")) if endpoint else self

    @property
    def local_bucket(self) -> str:
        """The folder that stands for the bucket on the local SkyPilot, whose jobs run on this machine."""
        return f"file://{self.root.as_posix()}/.local/bucket"


def load_settings(environ: Mapping[str, str] | None = None, *, root: Path | None = None) -> Settings:
    """The settings of the project at `root`, by default the one this package lies in."""
    root = (root or Path(__file__).resolve().parent.parent).absolute()
    project, tool = _pyproject(root / "pyproject.toml")
    dot_env = dotenv.read(root / ".env")
    given = _Given(os.environ if environ is None else environ, dot_env, tool)
    given = given.on_local_skypilot(dotenv.read(root / ".local" / "env"))
    slug = str(project.get("name") or root.name)
    return Settings(
        root=root,
        slug=slug,
        owner=given.text("SKY_ORCHESTRATE_OWNER") or slug,
        endpoint=_endpoint(given.text(_ENDPOINT) or DEFAULT_ENDPOINT, _ENDPOINT),
        infra=_infra(given.text(_INFRA)),
        bucket=_bucket(given),
        local=given.text(_LOCAL) not in ("", "0", "false", "no"),
        idle_minutes=given.whole("SKY_ORCHESTRATE_IDLE_MINUTES", 10, least=1, most=24 * 60),
        log_streams=given.whole("SKY_ORCHESTRATE_LOG_STREAMS", 16, least=0, most=128),
        launches=given.whole("SKY_ORCHESTRATE_LAUNCHES", 4, least=1, most=128),
        status_requests=given.whole("SKY_ORCHESTRATE_STATUS_REQUESTS", 8, least=1, most=128),
        reaper_grace=given.seconds("SKY_ORCHESTRATE_REAPER_GRACE", 300),
        run_state=given.text("SKY_ORCHESTRATE_RUN_STATE"),
        variables=dot_env,
    )


def project_name(root: Path | None = None) -> str:
    """The project's name, as its pyproject.toml has it; readable where settings are not."""
    root = (root or Path(__file__).resolve().parent.parent).absolute()
    return str(_pyproject(root / "pyproject.toml")[0].get("name") or root.name)


@dataclass(frozen=True)
class _Given:
    """Where a setting may stand, first come first served. In pyproject.toml SKY_ORCHESTRATE_IDLE_MINUTES is `idle_minutes`."""

    environ: Mapping[str, str]
    dot_env: Mapping[str, str]
    tool: Mapping[str, Any]

    def text(self, name: str) -> str:
        found = self.environ.get(name, "").strip() or self.dot_env.get(name, "").strip()
        return found or str(self.tool.get(name.removeprefix("SKY_ORCHESTRATE_").lower(), "")).strip()

    def whole(self, name: str, default: int, *, least: int, most: int) -> int:
        text = self.text(name) or str(default)
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise SettingsError(f"{name} is {text!r}, and would be right as a whole number from {least} to {most}")
        return int(text)

    def seconds(self, name: str, default: float) -> float:
        text = self.text(name) or str(default)
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text):
            raise SettingsError(f"{name} is {text!r}, and would be right as a number of seconds, such as 300")
        return float(text)

    def on_local_skypilot(self, local: Mapping[str, str]) -> _Given:
        """With the local SkyPilot's variables first, where the infra asks for it."""
        infra, endpoint = self.text(_INFRA), self.text(_ENDPOINT)
        if infra == "local" and not local:
            raise SettingsError(
                f"{_INFRA} is 'local', and no local SkyPilot is up here; run `make local-up`, or name your infra, such as k8s or aws"
            )
        # The same cloud, with SkyPilot's default endpoint: nothing else can be meant while a local SkyPilot is up.
        named = infra in ("slurm", local.get(_INFRA)) and endpoint.rstrip("/") in _DEFAULT_ENDPOINTS
        if local and (infra == "local" or named):
            told = {_LOCAL: "1", _INFRA: local.get(_INFRA) or "slurm", _ENDPOINT: local.get(_ENDPOINT) or endpoint}
            return replace(self, environ={**self.environ, **told})
        return self


def _pyproject(path: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """[project] and [tool.sky-orchestrate]; empty where there is no such file, as in a container that holds the code alone."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: not readable as TOML: {error}") from None
    tool: Any = data.get("tool", {}).get("sky-orchestrate", {})
    if not isinstance(tool, dict):
        raise SettingsError(f"{path}: [tool.sky-orchestrate] is not a table")
    return data.get("project", {}), cast("dict[str, Any]", tool)


def _endpoint(text: str, name: str) -> str:
    try:
        parts = urlsplit(text)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        raise SettingsError(f"{name} is no URL with a port from 1 to 65535; it would be right as {DEFAULT_ENDPOINT}") from None
    if "@" in parts.netloc:
        raise SettingsError(f"{name} holds credentials, which would show up in logs; leave them out and set SKYPILOT_SERVICE_ACCOUNT_TOKEN")
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or not port_is_right
        or re.search(r"\s", text)
        or parts.query
        or parts.fragment
    ):
        raise SettingsError(f"{name} is {text!r}, and would be right as http(s)://host:port, such as {DEFAULT_ENDPOINT}")
    return text.rstrip("/")


def _infra(text: str) -> str | None:
    problem = infra_problem(text) if text else None
    if problem:
        raise SettingsError(f"{_INFRA} is {text!r}: {problem}")
    return text or None


def _bucket(given: _Given) -> str:
    url = given.text(bucket.URL)
    if url:
        problem = bucket.check_url(url)
        if problem:
            shown = "it" if "@" in url else repr(url)
            raise SettingsError(f"{bucket.URL} cannot be {shown}: {problem}; it would be right as s3://my-bucket/folder")
        return url.rstrip("/")
    name = given.text(bucket.NAME)
    if not name:
        return ""
    try:
        return bucket.from_name(name, given.text(bucket.STORE_TYPE))
    except ValueError as error:
        raise SettingsError(str(error)) from None
