"""Whether this project can run here: one line for each thing it needs, and what to do where it is missing.

The endpoint answers, client and server fit together, the credentials are accepted, the infra is enabled, the GPUs that the task
files ask for are there, and the steps have a bucket to hand data on.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

from sky_orchestrate import errors, task_file
from sky_orchestrate.cluster import Server
from sky_orchestrate.settings import Settings
from sky_orchestrate.task import TaskSpec, load_task

_ACCELERATOR = re.compile(r"""['"]?(?P<name>[\w.-]+)['"]?\s*(?::\s*(?P<count>[0-9.]+)\+?)?['"]?""")
_LOCAL_ENDPOINT = re.compile(r"https?://(127\.|localhost)")


class Inspected(Protocol):
    """What is asked of the server; `client.Client` answers it."""

    async def server(self) -> Server: ...

    async def enabled_infra(self) -> Sequence[str]:
        """The infra it may launch on, such as aws, kubernetes/context, slurm/cluster."""
        ...

    async def accelerators(self, infra: str) -> Mapping[str, Sequence[float]]:
        """The accelerators of an infra, each with the counts that one node may have."""
        ...


@dataclass(frozen=True)
class Finding:
    """One line of the screen. `cure` is what to do where it is not ok."""

    what: str
    ok: bool
    says: str
    cure: str = ""


@dataclass(frozen=True)
class Wish:
    """What a task file asks for: one of these accelerators (none: no GPU at all) on one of these infras (none: on any)."""

    task: str
    infras: tuple[str, ...]
    accelerators: tuple[tuple[str, float], ...]


async def examine(settings: Settings, client: Inspected, tasks: Sequence[Path]) -> AsyncIterator[Finding]:
    """The findings, one after the other as they are made. What cannot be known without an answer from the server is left out."""
    wishes: list[Wish] = []
    for path in tasks:
        finding, wish = _read(path, settings)
        wishes += [wish] if wish else []
        if not finding.ok:
            yield finding
    if tasks and len(wishes) == len(tasks):
        yield Finding("tasks", ok=True, says=", ".join(wish.task for wish in wishes))
    yield _bucket(settings)
    server = await _endpoint(settings, client)
    yield server
    if not server.ok:
        return
    try:
        enabled = list(await client.enabled_infra())
    except errors.SkyOrchestrateError as error:
        yield _refused(error)
        return
    yield Finding("credentials", ok=True, says="accepted")
    yield _enabled(settings, wishes, enabled)
    for wish in wishes:
        if wish.accelerators:
            yield await _gpus(client, wish, enabled)


def _read(path: Path, settings: Settings) -> tuple[Finding, Wish | None]:
    said = path.name
    try:
        task = _loaded(path.absolute(), settings)
    except errors.TaskFileError as error:
        return Finding(said, ok=False, says=error.problem, cure=f"{error.field}: {error.cure}" if error.field else error.cure), None
    resources: dict[str, Any] = task.config.get("resources") or {}
    alternatives = [{**resources, **one} for _, one in task_file.choices(resources)] or [resources]
    infras = tuple(dict.fromkeys(str(one.get("infra") or one.get("cloud") or "") for one in alternatives))
    wanted = tuple(dict.fromkeys(wish for one in alternatives for wish in _accelerators(one.get("accelerators"))))
    return Finding(said, ok=True, says=""), Wish(task.name, tuple(infra for infra in infras if infra), wanted)


def _loaded(path: Path, settings: Settings) -> TaskSpec:
    """The task with something in place of what each run gives it; whether the bucket is there is a finding of its own."""
    envs: dict[str, str] = {}
    secrets: dict[str, str] = {}
    while True:
        try:
            return load_task(path, settings=replace(settings, bucket=settings.bucket or "file:///"), envs=envs, secrets=secrets)
        except errors.MissingValue as error:
            block, _, name = error.field.partition(".")
            (envs if block == "envs" else secrets)[name] = "given"


def _accelerators(said: Any) -> list[tuple[str, float]]:
    """SkyPilot's ways to name them: `H100:2`, a list of such, `{H100: 2}`, or either of the last two as text."""
    if isinstance(said, dict):
        return [(str(name), float(count or 1)) for name, count in cast("dict[Any, Any]", said).items()]
    named = said.strip("{} ").split(",") if isinstance(said, str) else cast("list[Any]", said or [])
    found = [_ACCELERATOR.fullmatch(str(one).strip()) for one in named]
    return [(one["name"], float(one["count"] or 1)) for one in found if one]


async def _endpoint(settings: Settings, client: Inspected) -> Finding:
    try:
        server = await client.server()
    except errors.EndpointIncompatible as error:
        return Finding(
            "versions",
            ok=False,
            says=str(error),
            cure="install in this environment the SkyPilot that the server runs, or update the server",
        )
    except errors.EndpointRefused as error:
        return _refused(error)
    except errors.SkyOrchestrateError as error:
        here = _LOCAL_ENDPOINT.match(settings.endpoint)
        cure = (
            "start it (`make local-up` for the local SkyPilot, `sky api start` for your own)"
            if here
            else "check the URL, the VPN and the server"
        )
        return Finding("endpoint", ok=False, says=str(error), cure=f"{cure}, or set SKYPILOT_API_SERVER_ENDPOINT")
    user = f", as {server.user}" if server.user else ""
    return Finding("endpoint", ok=True, says=f"{settings.endpoint} answers: SkyPilot {server.version}, API {server.api_version}{user}")


def _refused(error: errors.SkyOrchestrateError) -> Finding:
    cure = "make a service account token in SkyPilot's dashboard, and set SKYPILOT_SERVICE_ACCOUNT_TOKEN in .env"
    return Finding("credentials", ok=False, says=str(error), cure=cure if isinstance(error, errors.EndpointRefused) else "try again")


def _bucket(settings: Settings) -> Finding:
    if settings.bucket:
        return Finding("bucket", ok=True, says=settings.bucket)
    if settings.local:
        return Finding("bucket", ok=True, says=f"{settings.local_bucket} (the local SkyPilot's)")
    return Finding(
        "bucket",
        ok=False,
        says="none is set, and steps on clusters of their own hand data on through one",
        cure="set DATA_BUCKET_URL in .env",
    )


def _enabled(settings: Settings, wishes: Sequence[Wish], enabled: Sequence[str]) -> Finding:
    wanted = list(dict.fromkeys(" or ".join(wish.infras) for wish in wishes if wish.infras)) or [settings.infra or ""]
    missing = [infra for infra in wanted if not any(_matching(one, enabled) for one in infra.split(" or "))]
    has = ", ".join(enabled) or "none"
    if missing:
        said = f"{', '.join(missing) or 'any infra'}: not enabled on the server; enabled: {has}"
        cure = "give the server its credentials and run `sky check`, or set SKY_ORCHESTRATE_INFRA to one that is"
        return Finding("infra", ok=False, says=said, cure=cure)
    return Finding("infra", ok=True, says=f"{', '.join(wanted) or 'any'} (enabled: {has})")


async def _gpus(client: Inspected, wish: Wish, enabled: Sequence[str]) -> Finding:
    asked = " or ".join(f"{name}:{count:g}" for name, count in wish.accelerators)
    where = list(dict.fromkeys(one for infra in wish.infras or ("*",) for one in _matching(infra, enabled)))
    problems: list[str] = []
    seen: dict[str, Sequence[float]] = {}
    for infra in where:
        try:
            has = await client.accelerators(infra)
        except errors.SkyOrchestrateError as error:
            problems.append(f"{infra}: {error}")
            continue
        seen.update(has)
        for name, count in wish.accelerators:
            counts = next((counts for known, counts in has.items() if known.lower() == name.lower()), ())
            if any(one >= count for one in counts):
                return Finding(f"{wish.task}: GPUs", ok=True, says=f"{asked} on {infra}")
    said = f"no {asked} on {', '.join(where) or 'any enabled infra'}"
    offered = ", ".join(f"{name}:{max(counts):g}" for name, counts in sorted(seen.items())[:8] if counts)
    if problems:
        return Finding(f"{wish.task}: GPUs", ok=False, says=f"cannot tell about {asked}: {problems[0]}", cure="run `sky gpus list`")
    cure = f"ask for what is there ({offered}) in `accelerators:`" if offered else "ask for none, or for another infra"
    return Finding(f"{wish.task}: GPUs", ok=False, says=said, cure=cure)


def _matching(infra: str, enabled: Sequence[str]) -> list[str]:
    """The enabled infra that `infra` means: a cloud alone is all that is enabled of it, and a region of an enabled cloud is that region."""
    wanted = _canonical(infra)
    if wanted in ("", "*"):
        return list(enabled)
    found = [one for one in enabled if _canonical(one) == wanted or _canonical(one).startswith(f"{wanted}/")]
    cloud_is = any("/" not in one and wanted.startswith(f"{_canonical(one)}/") for one in enabled)
    return found or ([infra] if cloud_is else [])


def _canonical(infra: str) -> str:
    cloud, slash, rest = infra.partition("/")
    return {"k8s": "kubernetes"}.get(cloud.lower(), cloud.lower()) + slash + rest
