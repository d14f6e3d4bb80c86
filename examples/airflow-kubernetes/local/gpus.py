"""Which pretended GPUs the node has: four H100s, and whatever the project's task files ask for."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

from local.place import LocalError

DEFAULT = {"H100": 4}
_NAME_AND_COUNT = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)[\"']?(?:\s*:\s*([0-9]+(?:\.[0-9]+)?))?")
_FIELD = re.compile(r"\baccelerators\s*:\s*(\"[^\"]*\"|'[^']*'|\{[^}]*\}|\[[^]]*\]|[^,}]*)")


def wanted(project: Path) -> dict[str, int]:
    """Name and count of every GPU type, at least four of each where the task files name them."""
    found = dict(DEFAULT)
    for path in sorted((project / "tasks").glob("*.y*ml")):
        for name, count in asked_for(path.read_text(encoding="utf-8")):
            found[name] = max(found.get(name, 4), count)
    return found | _extra(os.environ.get("SKY_LOCAL_GPUS", ""))


def asked_for(task: str) -> list[tuple[str, int]]:
    """The accelerators of a task file, read without a YAML parser: this package needs nothing but Python."""
    lines = [line.split(" #")[0].rstrip() for line in task.splitlines()]
    found: list[tuple[str, int]] = []
    for number, line in enumerate(lines):
        for field in _FIELD.finditer(line):
            value = field[1] or _indented(lines[number + 1 :], field.start())
            found += [(name.upper(), math.ceil(float(count or 1))) for name, count in _NAME_AND_COUNT.findall(value)]
    return [(name, count) for name, count in found if name not in ("NONE", "NULL") and count]


def _indented(lines: list[str], indent: int) -> str:
    """The block below a field; a list's items may stand as far left as the field itself."""
    block: list[str] = []
    for line in lines:
        text = line.lstrip()
        if text and len(line) - len(text) <= indent - text.startswith("- "):
            break
        block.append(line)
    return "\n".join(block)


def _extra(text: str) -> dict[str, int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if any(not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*:[1-9][0-9]{0,2}", part) for part in parts):
        raise LocalError(f"SKY_LOCAL_GPUS is {text!r}, and would be right as NAME:COUNT with commas between, such as A100:8,L4:1")
    return {name.upper(): int(count) for name, count in (part.split(":") for part in parts)}
