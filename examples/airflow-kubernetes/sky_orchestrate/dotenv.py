"""A `.env` file: lines of `NAME=value`, with `export`, quotes and comments, and nothing that runs.

A plain value ends at a `#` with a space before it, single quotes take all as it stands, and double quotes know \\n, \\t, \\" and \\\\.
"""

from __future__ import annotations

import re
from pathlib import Path

from sky_orchestrate.errors import SettingsError

_LINE = re.compile(r"(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*)")
_DOUBLE = re.compile(r'"(?P<text>(?:[^"\\]|\\.)*)"\s*(?:#.*)?')
_SINGLE = re.compile(r"'(?P<text>[^']*)'\s*(?:#.*)?")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def read(path: Path) -> dict[str, str]:
    """The file's variables; none where there is no such file. A line that cannot be read is a SettingsError without its value."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read as UTF-8 text ({type(error).__name__})") from None
    return parse(text, str(path))


def parse(text: str, source: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise SettingsError(f"{source}, line {number}: not NAME=value; a name has letters, digits and `_`, and `=` follows it")
        value = _value(match["value"])
        if value is None:
            raise SettingsError(
                f"{source}, line {number}: the quotes of {match['name']} do not close, or text follows them; a value stays on one line"
            )
        found[match["name"]] = value
    return found


def _value(text: str) -> str | None:
    if text.startswith('"'):
        match = _DOUBLE.fullmatch(text)
        return re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), match["text"]) if match else None
    if text.startswith("'"):
        match = _SINGLE.fullmatch(text)
        return match["text"] if match else None
    return re.split(r"(?:^|\s)#", text, maxsplit=1)[0].strip()
