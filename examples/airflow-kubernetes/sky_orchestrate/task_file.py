"""The text of a SkyPilot task file, read and checked: one task, known fields, right types.

Every mistake is one TaskFileError that names file, field and what would be right. Values of envs and secrets are never shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast

import yaml

from sky_orchestrate import fields
from sky_orchestrate.errors import TaskFileError

Config = dict[str, Any]

# sky.task._VALID_NAME_REGEX
_NAME = re.compile(r"[a-zA-Z0-9]+(?:[._-]{1,2}[a-zA-Z0-9]+)*")
_VARIABLE = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_ACCELERATOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(?::[0-9]+(?:\.[0-9]+)?\+?)?")


def read(text: str, source: str) -> Config:
    """The one task in `text`, with every field checked."""
    config = _mapping(text, source)
    _check(config, fields.TASK, source, "")
    if "name" in config:
        check_name(config["name"], source)
    if config.get("num_nodes", 1) < 1:
        raise TaskFileError(source, "num_nodes", f"is {config['num_nodes']}", "it would be right as 1 or more")
    check_resources(config.get("resources", {}), source)
    for block in ("envs", "secrets"):
        if isinstance(config.get(block), dict):
            config[block] = _texts(config[block], source, block)
    return config


def check_name(name: str, source: str) -> None:
    if not _NAME.fullmatch(name):
        raise TaskFileError(
            source, "name", f"SkyPilot takes no task named {name!r}", "letters, digits and single . _ - between them are right"
        )


def check_resources(resources: Config, source: str) -> None:
    _check(resources, fields.RESOURCES, source, "resources.")
    for choice in ("any_of", "ordered"):
        for number, one in enumerate(resources.get(choice, [])):
            where = f"resources.{choice}[{number}]"
            if not isinstance(one, dict):
                raise TaskFileError(source, where, f"holds {fields.kind_said(one)}", "it would be right as a mapping of resources")
            _check(cast(Config, one), fields.ONE_RESOURCE, source, f"{where}.")
    for where, one in (("resources", resources), *choices(resources)):
        infra = one.get("infra")
        problem = fields.infra_problem(infra) if infra else None
        if problem:
            raise TaskFileError(source, f"{where}.infra", f"is {infra!r}", problem)
        _check_accelerators(one.get("accelerators"), source, f"{where}.accelerators")


def choices(resources: Config) -> list[tuple[str, Config]]:
    """The alternatives under any_of and ordered, each with where it stands."""
    return [(f"resources.{choice}[{n}]", one) for choice in ("any_of", "ordered") for n, one in enumerate(resources.get(choice, []))]


def check_variable(name: object, source: str, block: str) -> str:
    """A variable's name as SkyPilot takes it."""
    if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
        raise TaskFileError(
            source, block, f"{name!r} is no variable's name", "letters, digits and `_` are right, not beginning with a digit"
        )
    return name


def check_plain(config: Config, source: str) -> None:
    """All but envs and secrets must be what JSON can hold: it is how a task reaches SkyPilot."""
    for name, value in config.items():
        if name in ("envs", "secrets"):
            continue
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise TaskFileError(
                source, str(name), f"holds what SkyPilot cannot take ({error})", "put dates and the like in quotes"
            ) from None


def _mapping(text: str, source: str) -> Config:
    try:
        node = _first_node(text)
        documents: list[Any] = list(yaml.safe_load_all(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise TaskFileError(
            source, where, f"not valid YAML: {error.problem or error.context}", "check indentation, colons and quotes there"
        ) from None
    except yaml.YAMLError as error:
        raise TaskFileError(source, "", f"not valid YAML: {str(error).splitlines()[0]}", "it must be UTF-8 text with one task") from None
    except (ValueError, RecursionError):
        raise TaskFileError(source, "", "holds a date or number that does not exist", "put it in quotes") from None
    if len(documents) > 1:
        raise TaskFileError(source, "", f"holds {len(documents)} documents", "one task per file is right: split it at the `---` lines")
    if not documents or documents[0] is None:
        raise TaskFileError(source, "", "is empty", "a task has at least a `run:`")
    if not isinstance(documents[0], dict):
        raise TaskFileError(
            source,
            "",
            f"holds {fields.kind_said(documents[0])}",
            "a task is a mapping, beginning with a line such as `run: python train.py`",
        )
    _refuse_duplicates(node, source)
    config = cast(Config, documents[0])
    check_plain(config, source)
    return config


def _first_node(text: str) -> yaml.Node | None:
    loader = yaml.SafeLoader(text)
    try:
        return loader.get_node() if loader.check_node() else None
    finally:
        loader.dispose()  # pyright: ignore[reportUnknownMemberType]  # PyYAML leaves it untyped


def _refuse_duplicates(node: yaml.Node | None, source: str) -> None:
    """SkyPilot refuses a key that stands twice; YAML itself would keep the last one."""
    waiting, visited = [node], set[int]()
    while waiting:
        node = waiting.pop()
        # An anchor is met again at each of its aliases, even inside itself.
        if node is None or id(node) in visited:
            continue
        visited.add(id(node))
        seen: dict[str, int] = {}
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode):
                name, line = str(key.value), key.start_mark.line + 1
                if name in seen and name != "<<":
                    raise TaskFileError(source, name, f"stands twice, on lines {seen[name]} and {line}", "keep the one that is meant")
                seen[name] = line
            waiting.append(value)
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value


def _check(config: Mapping[Any, Any], known: Mapping[str, fields.Kinds], source: str, path: str) -> None:
    for name, value in config.items():
        if name not in known:
            raise TaskFileError(source, f"{path}{name}", "no such field in a SkyPilot task", fields.nearest(str(name), known))
        if not fields.fits(value, known[name]):
            right = f"it would be right as {fields.said(known[name])}" + (", or without the line" if value is None else "")
            raise TaskFileError(source, f"{path}{name}", f"holds {fields.kind_said(value)}", right)


def _check_accelerators(accelerators: Any, source: str, where: str) -> None:
    wanted: list[Any] = []
    if isinstance(accelerators, str):
        # SkyPilot also reads a set or mapping written as text.
        wanted = [] if accelerators.strip().startswith("{") else [accelerators.strip()]
    elif isinstance(accelerators, (list, dict)):
        wanted = list(cast("list[Any]", accelerators))
    for one in wanted:
        if not isinstance(one, str) or not _ACCELERATOR.fullmatch(one):
            raise TaskFileError(source, where, f"{one!r} is no GPU", "NAME or NAME:COUNT is right, such as H100:1")


def _texts(block: Mapping[Any, Any], source: str, name: str) -> dict[str, str | None]:
    """Envs or secrets as text, as SkyPilot makes them: 10 is "10", true is "True"; no value stays none."""
    found: dict[str, str | None] = {}
    for key, value in block.items():
        managed = name == "secrets" and isinstance(key, str) and key.startswith("secrets:")
        variable = cast(str, key) if managed else check_variable(key, source, name)
        if isinstance(value, (dict, list)):
            raise TaskFileError(
                source, f"{name}.{variable}", f"holds {fields.kind_said(cast(object, value))}", "it would be right as text, in quotes"
            )
        found[variable] = None if value is None else str(value)
    return found
