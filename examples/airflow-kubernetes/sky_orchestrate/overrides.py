"""What is laid over a task file: envs, secrets, resources, infra and the bucket. Each changes the config in place."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from sky_orchestrate import bucket, fields, task_file
from sky_orchestrate.errors import MissingValue, TaskFileError
from sky_orchestrate.settings import Settings
from sky_orchestrate.task_file import Config

# sky.task._fill_in_env_vars replaces ${NAME} and $NAME in these.
_FILLED_IN = ("file_mounts", "service", "workdir", "volumes")
_REFERENCE = re.compile(r"\$\{?\b([a-zA-Z_][a-zA-Z0-9_]*)\b\}?")


def lay_envs(config: Config, envs: Mapping[str, Any], secrets: Mapping[str, str], source: str) -> None:
    """The caller's envs, as text, over the task's own. A name that is secret stays out of them."""
    declared = _secret_names(config)
    for name in envs:
        task_file.check_variable(name, source, "envs")
        if name in declared or name in secrets:
            raise TaskFileError(source, f"envs.{name}", "is a secret", "give its value as a secret: envs are stored and shown in clear")
        if envs[name] is None or isinstance(envs[name], (dict, list, tuple, set)):
            raise TaskFileError(
                source, f"envs.{name}", f"is given as {fields.kind_said(envs[name])}", "it would be right as text or a number"
            )
    both = sorted(declared & set(config.get("envs", {})))
    if both:
        raise TaskFileError(source, f"envs.{both[0]}", "stands under envs and under secrets", "keep it under secrets alone")
    if envs or "envs" in config:
        kept = {name: value for name, value in config.get("envs", {}).items() if name not in secrets}
        config["envs"] = {**kept, **{name: str(value) for name, value in envs.items()}}


def lay_bucket(config: Config, settings: Settings, source: str) -> None:
    """The project's bucket, where the task asks for one and has none."""
    envs: dict[str, str | None] = config.get("envs", {})
    if bucket.NAME in envs and not envs[bucket.NAME] and settings.bucket:
        name, store = bucket.name_and_store(settings.bucket)
        envs[bucket.NAME] = name or envs[bucket.NAME]
        if bucket.STORE_TYPE in envs and name:
            envs[bucket.STORE_TYPE] = store
    if bucket.URL not in envs:
        return
    if not envs[bucket.URL]:
        envs[bucket.URL] = _named_bucket(envs, source) or settings.bucket or (settings.local_bucket if settings.local else "")
    if not envs[bucket.URL]:
        cure = f"set {bucket.URL}=s3://my-bucket/folder in .env (or file:///shared/folder where all its clusters see the same disk)"
        raise TaskFileError(
            source, f"envs.{bucket.URL}", "steps on clusters of their own need a bucket to hand data on, and none is set", cure
        )
    problem = bucket.check_url(str(envs[bucket.URL]))
    if problem:
        raise TaskFileError(source, f"envs.{bucket.URL}", "is no bucket", problem)


def refuse_missing_envs(config: Config, source: str) -> None:
    for name, value in config.get("envs", {}).items():
        if value is None:
            raise MissingValue(
                source, f"envs.{name}", "has no default, and no value is given", f'give it one, or write `{name}: ""` for an empty one'
            )


def take_secrets(config: Config, secrets: Mapping[str, str], source: str) -> dict[str, str]:
    """Take the secrets' values out of the config, where their names stay, and return them with the caller's over them."""
    for name, value in secrets.items():
        task_file.check_variable(name, source, "secrets")
        if not isinstance(cast(object, value), str):
            raise TaskFileError(source, f"secrets.{name}", f"is given as {fields.kind_said(value)}", "it would be right as text")
    block = config.get("secrets", {})
    if isinstance(block, list):
        entries = cast("list[Any]", block)
        wrong = [entry for entry in entries if not isinstance(entry, str) or not entry.startswith("secrets:")]
        if wrong:
            raise TaskFileError(
                source, "secrets", "a list holds SkyPilot's managed secrets alone", "write secrets:NAME there, or a mapping of names"
            )
        block = dict.fromkeys(entries) if secrets else {}
    declared = cast("dict[str, str | None]", block)
    values = {name: value for name, value in declared.items() if value is not None} | dict(secrets)
    missing = [name for name in declared if name not in values and not name.startswith("secrets:")]
    if missing:
        cure = f"give it as a secret (--secret {missing[0]}); one that SkyPilot itself manages is written `secrets:{missing[0]}:`"
        raise MissingValue(source, f"secrets.{missing[0]}", "has no value", cure)
    if declared or secrets:
        config["secrets"] = dict.fromkeys([*declared, *secrets])
    return values


def lay_resources(config: Config, resources: Mapping[str, Any], source: str) -> None:
    """The caller's resources over the task's, in every alternative that says something else."""
    if not resources:
        return
    own: Config = config.setdefault("resources", {})
    for name, value in resources.items():
        for _, one in task_file.choices(own):
            if name in one:
                one[name] = value
        own[name] = value
    task_file.check_plain(config, source)
    task_file.check_resources(own, source)


def lay_infra(config: Config, infra: str | None, source: str) -> None:
    """The infra in place of the task's own cloud, region and zone; alternatives that then say the same are one."""
    if not infra:
        return
    problem = fields.infra_problem(infra)
    if problem:
        raise TaskFileError(source, "resources.infra", f"cannot be {infra!r}", problem)
    own: Config = config.setdefault("resources", {})
    for one in (own, *(choice for _, choice in task_file.choices(own))):
        for name in ("infra", "cloud", "region", "zone"):
            one.pop(name, None)
    for choice in ("any_of", "ordered"):
        if choice in own:
            distinct = {json.dumps(one, sort_keys=True): one for one in own.pop(choice) if one}
            if len(distinct) > 1:
                own[choice] = list(distinct.values())
            else:
                own.update(*distinct.values())
    own["infra"] = infra


def fill_in_envs(config: Config) -> None:
    """Replace the envs' names in paths by their values, as SkyPilot does, so that local paths can be told from URLs."""
    envs: dict[str, str] = config.get("envs", {})

    def value(match: re.Match[str]) -> str:
        return envs.get(match[1], match[0])

    def filled(part: Any) -> Any:
        if isinstance(part, str):
            return _REFERENCE.sub(value, part)
        if isinstance(part, dict):
            return {filled(key): filled(item) for key, item in cast("dict[Any, Any]", part).items()}
        return [filled(item) for item in cast("list[Any]", part)] if isinstance(part, list) else part

    for name in _FILLED_IN:
        if name in config:
            config[name] = filled(config[name])


def _secret_names(config: Config) -> set[str]:
    block = config.get("secrets", {})
    managed = {str(name).split(":")[-1].rsplit(".", 1)[-1] for name in block}
    return managed | {name for name in block if isinstance(name, str) and not name.startswith("secrets:")}


def _named_bucket(envs: Mapping[str, str | None], source: str) -> str:
    name = envs.get(bucket.NAME)
    if not name:
        return ""
    try:
        return bucket.from_name(name, envs.get(bucket.STORE_TYPE) or "")
    except ValueError as error:
        raise TaskFileError(source, f"envs.{bucket.NAME}", "is no bucket", str(error)) from None
