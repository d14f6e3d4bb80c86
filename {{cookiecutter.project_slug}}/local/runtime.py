"""SkyPilot's runtime on a cluster, prepared: an environment of 100 packages that each launch would otherwise build anew.

It is the API server's own environment, linked into the cluster's folder by the task prolog, with a `python` that starts fast
(see prefork.py). SkyPilot finds the package of its own wheel's hash installed there, and installs nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

from local.place import Place

def configure(place: Place) -> None:
    runtime = place.base / "runtime"
    (runtime / "bin").mkdir(parents=True, exist_ok=True)
    for name in ("bin/activate", "lib", "pyvenv.cfg"):
        _link(runtime / name, place.venv / name)
    fast = os.environ.get("SKY_LOCAL_PREFORK", "1") != "0"
    python, asked = runtime / "bin" / "python", place.base / "etc" / "prefork"
    python.unlink(missing_ok=True)
    asked.unlink(missing_ok=True)
    if fast:
        asked.touch()
        source = (Path(__file__).parent / "prefork.py").read_text()
        python.write_text(f"#!{place.venv}/bin/python -IS\n{source}")
        python.chmod(0o755)
    else:
        _link(python, place.venv / "bin" / "python")


def _link(path: Path, target: Path) -> None:
    if not path.is_symlink():
        path.symlink_to(target)
