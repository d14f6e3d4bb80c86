"""What importing the flow costs beside importing Prefect: processor seconds of fresh processes in turn, and their median.

Processor time, because an import does nothing else, and a busy machine leaves it as it is.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from figures import Figure, report

_TIMES = 9
_EMPTY = """from prefect import flow, get_run_logger, task
from prefect.runtime import flow_run
@task
async def step(name: str = "", limit: int = 0): ...
@flow
async def first(name: str = "", limit: int = 0): ...
@flow
async def second(name: str = "", limit: int = 0): ...
@flow
async def third(name: str = "", limit: int = 0): ...
"""
_MODULES = ("prefect", "empty_flows", "flows.sky_train_flow")


def main() -> None:
    seconds: dict[str, list[float]] = {module: [] for module in _MODULES}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "empty_flows.py").write_text(_EMPTY)
        os.environ["PYTHONPATH"] = f"{sys.argv[1]}:{folder}"
        # The first round leaves byte code for the others.
        for number in range(_TIMES + 1):
            for module, taken in seconds.items():
                taken += [_run(f"import {module}")][: min(number, 1)]
    prefect, empty, flow = (statistics.median(taken) for taken in seconds.values())
    if subprocess.run([sys.executable, "-c", "import sys, flows.sky_train_flow; sys.exit('sky' in sys.modules)"], check=False).returncode:
        raise SystemExit("flows.sky_train_flow imports SkyPilot")
    figures = [
        Figure("import of the flow, against a module of three flows that do nothing", flow / empty, most=1.1),
        Figure(f"import of the flow, against `import prefect` alone ({prefect:.2f} s)", flow / prefect),
        Figure("import of three flows that do nothing, against `import prefect` alone", empty / prefect),
    ]
    report(Path(sys.argv[2]), figures)


def _run(code: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
