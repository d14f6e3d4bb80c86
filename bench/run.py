"""`python bench/run.py PROJECT [PART ...]`: measure a baked project, print a Markdown table, and end with 1 where a target is missed.

With --keep the table replaces the flavour's in bench/README.md. Each part is a script of its own: `PART.py PROJECT OUT`, run by the
project's Python with the project as its folder; `lanes`, which bakes, by the template's.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from figures import Figure, collect

HERE = Path(__file__).resolve().parent
PARTS = {
    "prefect": ("pipeline", "verdict", "fan_out", "imports", "lanes"),
    "temporal": ("temporal_pipeline", "temporal_waits", "temporal_takeover"),
    "airflow": ("airflow_pipeline", "airflow_waits", "airflow_parse"),
}
# A project's flavour is known by the folder of its glue.
_GLUE = {"prefect": "flows", "temporal": "temporal", "airflow": "dags"}


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("project", type=Path)
    arguments.add_argument("parts", nargs="*", metavar="part", help="of those of the project's flavour; all by default")
    arguments.add_argument("--keep", action="store_true", help="put the table into bench/README.md")
    given = arguments.parse_args()
    project = given.project.resolve()
    flavour = next(name for name, folder in _GLUE.items() if (project / folder).is_dir())
    unknown = [part for part in given.parts if part not in PARTS[flavour]]
    if unknown:
        arguments.error(f"no part {unknown[0]!r}: there are {', '.join(PARTS[flavour])}")
    subprocess.run(["make", "--no-print-directory", "-C", str(project), "setup"], check=True)
    figures: list[Figure] = []
    notes: list[str] = []
    for part in given.parts or PARTS[flavour]:
        print(f"{part}:", file=sys.stderr, flush=True)
        found, said = measured(part, project)
        figures += found
        notes += said
    told = table(figures, notes)
    print(told)
    if given.keep:
        keep(flavour, told)
    return 0 if all(figure.reached for figure in figures) else 1


def measured(part: str, project: Path) -> tuple[list[Figure], list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        python = Path(sys.executable) if part == "lanes" else project / ".venv" / "bin" / "python"
        environment = {**os.environ, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([python, HERE / f"{part}.py", project, out], cwd=project, env=environment, check=False)
        if done.returncode:
            raise SystemExit(f"bench/{part}.py failed")
        return collect(out)


def table(figures: list[Figure], notes: list[str]) -> str:
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    where = f"{today}, {os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[2]:.1f} over the last 15 minutes."
    lines = [where, "", "| what | measured | target | reached |", "|---|---|---|---|"]
    lines += [figure.row() for figure in figures]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def keep(flavour: str, told: str) -> None:
    """Under the flavour's own heading, the last one where there is none yet."""
    readme = HERE / "README.md"
    text = readme.read_text(encoding="utf-8")
    heading = f"### {flavour.capitalize()}\n\n"
    if heading not in text:
        text = f"{text.rstrip()}\n\n{heading}"
    readme.write_text(re.sub(rf"({heading}).*?(?=\n##|\Z)", lambda found: found.group(1) + told, text, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
