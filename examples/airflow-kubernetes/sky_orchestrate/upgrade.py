"""`make upgrade`: take the vendored folders from the newest template, and show what else differs.

The project is baked anew from the answers in its pyproject.toml. `sky_orchestrate/` and `local/` are replaced; every other file
stays as it is, and .upgrade/changes.diff tells what the new template has there.
"""

from __future__ import annotations

import argparse
import difflib
import io
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

VENDORED = ("sky_orchestrate", "local")
NOTES = Path(".upgrade")


class UpgradeError(Exception):
    """The upgrade cannot be done; nothing was changed."""


@dataclass(frozen=True)
class Origin:
    """What a project was baked of."""

    version: str
    template: str
    answers: Mapping[str, str]


@dataclass(frozen=True)
class Difference:
    """A file that the new template has otherwise, or that the project lacks."""

    name: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "".join(self.lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make upgrade", description="Take sky_orchestrate/ and local/ from the newest template.")
    parser.add_argument("--template", default="", help="where the template is: a folder, a Git URL, or gh:OWNER/REPO")
    parser.add_argument("--checkout", default="", help="a branch, tag or commit of it")
    given = parser.parse_args()
    try:
        print(upgrade(Path.cwd(), template=given.template, checkout=given.checkout))
    except UpgradeError as error:
        sys.exit(f"error: {error}")


def upgrade(project: Path, *, template: str = "", checkout: str = "") -> str:
    """Upgrade the project, and say what was done."""
    old = origin(project)
    source = template or old.template
    if not source:
        raise UpgradeError(
            "this project was baked from a folder: say where the template is, with make upgrade ARGS='--template gh:OWNER/REPO'"
        )
    with tempfile.TemporaryDirectory() as temporary:
        baked = _bake(Path(temporary), source, checkout, old.answers)
        new = origin(baked)
        differences = tuple(_differences(project, baked))
        _replace_vendored(project, baked)
    return _report(project, old, new, differences)


def origin(project: Path) -> Origin:
    try:
        data: Any = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
        tool = data["tool"]["sky-orchestrate"]
        return Origin(str(tool["version"]), str(tool["template"]), {str(name): str(answer) for name, answer in tool["answers"].items()})
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise UpgradeError(f"pyproject.toml does not tell what the project was baked of, in [tool.sky-orchestrate]: {error!r}") from None


def _bake(folder: Path, template: str, checkout: str, answers: Mapping[str, str]) -> Path:
    """The project as the template makes it today; cookiecutter's own folders in the home folder are left alone."""
    config = folder / "config.yaml"
    config.write_text(json.dumps({"cookiecutters_dir": str(folder / "templates"), "replay_dir": str(folder / "replay")}), encoding="utf-8")
    command = [sys.executable, "-m", "cookiecutter", "--no-input", "--config-file", str(config), "--output-dir", str(folder / "baked")]
    command += ["--checkout", checkout] if checkout else []
    # cookiecutter renders answers given on the command line, and no answer is meant as Jinja
    command += ["--", template, *(f"{name}=" + answer.replace("{", '{{ "{" }}') for name, answer in answers.items())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stdout + done.stderr).strip().splitlines() or ["no reason given"]
        raise UpgradeError(f"{template} could not be baked: {last[-1]}")
    return next((folder / "baked").iterdir())


def _differences(project: Path, baked: Path) -> Iterator[Difference]:
    for new in sorted(path for path in baked.rglob("*") if path.is_file()):
        name = new.relative_to(baked)
        old = project / name
        if name.parts[0] in VENDORED or (old.is_file() and old.read_bytes() == new.read_bytes()):
            continue
        before = f"a/{name.as_posix()}" if old.is_file() else "/dev/null"
        lines = difflib.unified_diff(_lines(old), _lines(new), before, f"b/{name.as_posix()}")
        yield Difference(name.as_posix(), tuple(map(_ended, lines)))


def _ended(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    try:
        return io.StringIO(path.read_bytes().decode("utf-8"), newline="\n").readlines()
    except UnicodeDecodeError:
        return [f"(binary, {path.stat().st_size} bytes)\n"]


def _replace_vendored(project: Path, baked: Path) -> None:
    kept = project / NOTES / "before"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    for name in VENDORED:
        if (project / name).exists():
            shutil.move(str(project / name), str(kept / name))
        shutil.copytree(baked / name, project / name)


def _report(project: Path, old: Origin, new: Origin, differences: tuple[Difference, ...]) -> str:
    (project / NOTES / "changes.diff").write_text("".join(map(str, differences)), encoding="utf-8")
    report = [
        f"sky_orchestrate/ and local/ are now of template version {new.version} (the project was baked of {old.version}).",
        f"What they were is in {NOTES}/before/.",
    ]
    if not differences:
        return "\n".join([*report, "Nothing else differs."])
    report.append("")
    for difference in differences:
        locked = difference.name.startswith("requirements") and difference.name.endswith(".txt")
        report.append(f"{difference.name}: {len(difference.lines)} lines of difference\n" if locked else str(difference))
    report.append(f"Your files are as they were. The differences above are in {NOTES}/changes.diff: take all by")
    report.append(f"  patch -p1 < {NOTES}/changes.diff")
    return "\n".join(report)


if __name__ == "__main__":
    main()
