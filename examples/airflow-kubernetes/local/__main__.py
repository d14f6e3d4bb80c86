"""The command: python -m local up | down | stop | restart | status"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from local import lifecycle, slurm
from local.place import LocalError, find_place, remember


def main(arguments: list[str] | None = None) -> int:
    description = "A real SkyPilot on a real Slurm of this machine, with pretended GPUs, in .local/."
    parser = argparse.ArgumentParser(prog="python -m local", description=description)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", help="start what is not running; returns at once when all is well")
    commands.add_parser("down", help="stop it and remove every process and file of it")
    commands.add_parser("stop", help="stop it and keep the API server's environment, so that the next start needs no network")
    commands.add_parser("restart", help="restart the API server alone; Slurm and its jobs go on")
    commands.add_parser("status", help="what runs, where, and Slurm's queue; exit code 1 if it is not up")
    command: str = parser.parse_args(arguments).command
    try:
        return {"up": _up, "down": _down, "stop": _stop, "restart": _restart, "status": _status}[command]()
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: `python -m local down` clears up, `up` goes on", file=sys.stderr)
        return 130


def _up() -> int:
    return _report(lifecycle.up)


def _restart() -> int:
    return _report(lifecycle.restart)


def _report(action: Callable[[], str]) -> int:
    began = time.monotonic()
    print(f"local SkyPilot is up at {action()} ({time.monotonic() - began:.0f} s)")
    return 0


def _down() -> int:
    lifecycle.down()
    print("local SkyPilot is down, and nothing of it is left")
    return 0


def _stop() -> int:
    lifecycle.stop()
    print("local SkyPilot is stopped")
    return 0


def _status() -> int:
    place = find_place()
    memory = remember(place)
    if memory is None or not lifecycle.is_up(place, memory):
        print("local SkyPilot is not up: make local-up")
        return 1
    print(f"local SkyPilot is up at {lifecycle.endpoint(memory)}, with {', '.join(f'{gpu}:{count}' for gpu, count in memory.gpus.items())}")
    print(f"logs in {place.folder}/log; Slurm's own commands: export SLURM_CONF={place.slurm_conf}")
    print(slurm.ask(place, "squeue", "-o", "%.6i %.36j %.10T %.8M %b"), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
