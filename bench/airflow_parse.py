"""How much longer Airflow's DAG processor takes for each of our DAG files than for one that holds an empty DAG, in processor seconds.

As the processor does it: each file in a fork of a process that has Airflow's own modules. The least of ROUNDS (5 by default) counts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from figures import Figure, report, say

ROUNDS = int(os.environ.get("ROUNDS", "5"))
_EMPTY = "from airflow.sdk import DAG\nwith DAG(dag_id='empty', schedule=None):\n    pass\n"
_PARSE = """
import json, os, pathlib, sys, time
from airflow.sdk import DAG, BaseHook, BaseOperator, Param, Variable, task
from airflow.providers.standard.operators.empty import EmptyOperator
import airflow.triggers.base
for name in sys.argv[2:] * int(sys.argv[1]):
    if os.fork():
        os.wait()
        continue
    began = time.process_time()
    exec(compile(pathlib.Path(name).read_text(), name, "exec"), {"__file__": name, "__name__": "parsed"})
    took = time.process_time() - began
    print(json.dumps([pathlib.Path(name).name, took, "sky" in sys.modules]), flush=True)
    os._exit(0)
"""


def main() -> None:
    project, out = Path(sys.argv[1]), Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text(_EMPTY)
        files = [empty, *sorted((project / "dags").glob("*.py"))]
        environment = {**os.environ, "AIRFLOW_HOME": folder, "PYTHONDONTWRITEBYTECODE": ""}
        command = [sys.executable, "-c", _PARSE, str(ROUNDS + 1), *map(str, files)]
        done = subprocess.run(command, cwd=project, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    seconds: dict[str, float] = {}
    for name, took, imported in map(json.loads, filter(lambda line: line.startswith("["), done.stdout.splitlines())):
        if imported:
            raise SystemExit(f"airflow_parse.py: {name} imports SkyPilot while it is parsed")
        seconds[name] = min(took, seconds.get(name, took))
    least = seconds.pop("empty.py")
    for name, took in seconds.items():
        say(f"{name}: {took * 1000:.0f} ms, an empty DAG {least * 1000:.0f} ms")
    worst = max(seconds, key=lambda name: seconds[name])
    beyond = (seconds[worst] - least) * 1000
    report(out, [Figure(f"parse of {worst}, the slowest of {len(seconds)}, beyond an empty DAG's", beyond, "ms", most=50)])


if __name__ == "__main__":
    main()
