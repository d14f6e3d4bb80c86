"""A worker: python run_worker.py [--with-reaper]"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys

from sky_orchestrate.errors import SkyOrchestrateError
from sky_orchestrate.settings import load_settings
from temporal.connection import leave
from temporal.worker import serve


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the project's workflows and activities, until SIGTERM or Ctrl-C. Clusters stay then.")
    parser.add_argument("--with-reaper", action="store_true", help="also have Temporal run the reaper on a schedule, every 5 minutes")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    try:
        asyncio.run(serve(load_settings(), with_reaper=options.with_reaper))
    except SkyOrchestrateError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    leave(main())
