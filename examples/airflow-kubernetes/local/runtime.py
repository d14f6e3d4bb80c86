"""SkyPilot's runtime on a cluster, prepared: an environment of 100 packages that each launch would otherwise build anew.

It is the API server's own environment, linked into the cluster's folder by the task prolog, with a `python` that starts fast
(see prefork.py). SkyPilot finds the package of its own wheel's hash installed there, and installs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from local import processes
from local.place import Place

# SkyPilot takes this folder out of PATH again before a job's own commands run.
_ACTIVATE = 'export VIRTUAL_ENV="$SKY_RUNTIME_DIR/skypilot-runtime" PATH="$SKY_RUNTIME_DIR/skypilot-runtime/bin:$PATH"\n'


def configure(place: Place) -> None:
    runtime = place.base / "runtime"
    (runtime / "bin").mkdir(parents=True, exist_ok=True)
    for name in ("lib", "pyvenv.cfg"):
        _link(runtime / name, place.venv / name)
    (runtime / "bin" / "activate").write_text(_ACTIVATE)
    python = runtime / "bin" / "python"
    python.unlink(missing_ok=True)
    if prefork():
        python.write_text(f"#!{place.venv}/bin/python -IS\n{(Path(__file__).parent / 'prefork.py').read_text()}")
        python.chmod(0o755)
    else:
        _link(python, place.venv / "bin" / "python")


def prefork() -> bool:
    return os.environ.get("SKY_LOCAL_PREFORK", "1") != "0"


def start(place: Place, environment: Mapping[str, str]) -> None:
    """Start the process that the clusters' interpreters are forked from, if it is wanted and not running."""
    folder = place.base / "run" / "stem"
    if not prefork() or processes.running(place, "stem"):
        return
    folder.mkdir(exist_ok=True)
    command = [f"{place.venv}/bin/python", "-u", f"{place.base}/runtime/bin/python", "--stem", str(folder)]
    processes.start(place, "stem", command, environment)


def _link(path: Path, target: Path) -> None:
    if not path.is_symlink():
        path.symlink_to(target)
