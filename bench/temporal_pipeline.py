"""The pipeline as a workflow with a worker that is up, against the same tasks by `sky` in turn; and what its history holds.

From the start of run_workflow.py to its end, which is that of the workflow: each cluster is shown to be gone. ROUNDS of both are run (1
by default), and the medians compared.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from figures import Figure, report
from local import lifecycle
from pipeline import HERE, Variant, shares
from temporalio.client import Client
from tests.temporal.dev_server import dev_server


def main() -> None:
    project, out = Path(sys.argv[1]), Path(sys.argv[2])
    endpoint = lifecycle.up(project)
    python = sys.executable
    in_turn = Variant("`sky` in turn", ["bash", str(HERE / "in_turn.sh"), str(project), "RUN"])
    ours = Variant("the workflow", [python, "run_workflow.py", "--id", "bench-RUN"])
    with tempfile.TemporaryDirectory() as folder, dev_server() as address:
        environment = {
            **os.environ,
            "HOME": folder,
            "PATH": f"{Path(python).parent}:{os.environ['PATH']}",
            "SKYPILOT_API_SERVER_ENDPOINT": endpoint,
            "SKYPILOT_DISABLE_USAGE_COLLECTION": "1",
            "SKY_ORCHESTRATE_INFRA": "local",
            "TEMPORAL_ADDRESS": address,
        }
        log = Path(folder) / "log"
        with log.open("a") as said:
            worker = subprocess.Popen([python, "run_worker.py"], env=environment, stdout=said, stderr=subprocess.STDOUT)
        try:
            Variant("warming up", ours.command).run(environment, endpoint, log)
            for _ in range(int(os.environ.get("ROUNDS", "1"))):
                for variant in (in_turn, ours):
                    variant.run(environment, endpoint, log)
            events, largest = asyncio.run(_history(address))
        finally:
            worker.terminate()
            worker.wait(60)
    figures = [
        Figure("the pipeline as a workflow, against `sky` in turn", ours.median / in_turn.median, most=0.75),
        Figure("events in the history of a pipeline", events, most=119),
        Figure("the largest of them", largest / 1024, "KB", most=64),
    ]
    report(out, figures, shares([in_turn, ours]))


async def _history(address: str) -> tuple[int, int]:
    """The number of events of the longest history, and the bytes of the largest event of all."""
    client = await Client.connect(address)
    counts, sizes = [0], [0]
    async for run in client.list_workflows("WorkflowType = 'SkyPilotWorkflow'"):
        events = (await client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()).events
        counts.append(len(events))
        sizes += [event.ByteSize() for event in events]
    return max(counts), max(sizes)


if __name__ == "__main__":
    main()
