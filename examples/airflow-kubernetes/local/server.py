"""SkyPilot's API server, in an environment and a home folder of its own."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import sqlite3
import subprocess
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local import machine, processes
from local.place import LocalError, Place

_HERE = Path(__file__).resolve().parent
_SOURCES = _HERE / "requirements.txt"

_CONFIG = """\
allowed_clouds: [slurm]
provision:
  install_conda: false
slurm:
  cluster_configs:
    local:
      tmpdir: {base}/tmp
"""

# A launch that is cancelled while its process imports one of these would leave it half there, for all later launches in that process.
_PRELOAD = """\
import sys; sys.orig_argv[-1:] == ["--multiprocessing-fork"] and [__import__(name) for name in ("networkx", "pandas")]
"""

_FREE = "Region,Zone,PricePerVCPU,PricePerMemoryGB,AcceleratorName,PricePerAccelerator\n,,0.0,0.0,,0.0\n"


def build(place: Place, uv: str) -> None:
    """The environment, exactly as requirements.txt locks it; kept while that stays the same."""
    wanted = _SOURCES.read_text() + _PRELOAD
    built = place.base / "venv" / "built-from.txt"
    if built.exists() and built.read_text() == wanted:
        return
    shutil.rmtree(place.venv, ignore_errors=True)
    environment = {**_caller(), "UV_NATIVE_TLS": "1", "UV_SYSTEM_CERTS": "1", "UV_NO_PROGRESS": "1"}
    for command in (
        [uv, "venv", "-q", "--python", machine.server_python(), str(place.venv)],
        [uv, "pip", "sync", "-q", "--require-hashes", "--python", str(place.venv / "bin" / "python"), str(_SOURCES)],
    ):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = " ".join(done.stderr.split())[-300:]
            raise LocalError(f"the API server's environment could not be built; is there a network? {reason}")
    (_packages(place) / "sky_local.pth").write_text(_PRELOAD)
    built.write_text(wanted)


def configure(place: Place) -> None:
    sky = place.home / ".sky"
    catalog = sky / "catalogs" / "v8"
    (catalog / "common").mkdir(parents=True, exist_ok=True)
    (catalog / "slurm").mkdir(parents=True, exist_ok=True)
    # Without these SkyPilot asks the internet for names of GPUs.
    shutil.copy(_HERE / "accelerators.csv", catalog / "common" / "accelerators.csv")
    (catalog / "slurm" / "pricing.csv").write_text(_FREE)
    (sky / "config.yaml").write_text(_CONFIG.format(base=place.base))
    # A user of its own, and not the caller's: SkyPilot's folders under /tmp go by it.
    (sky / "user_hash").write_text(hashlib.sha256(os.fsencode(place.folder)).hexdigest()[:8])


def start(place: Place, port: int, environment: Mapping[str, str]) -> bool:
    """Start the API server, and say whether it was not running; `wait` says when it answers."""
    if processes.running(place, "api"):
        return False
    own = {
        **environment,
        "SKYPILOT_API_SERVER_LOCAL_PORT": str(port),
        "SKYPILOT_DISABLE_USAGE_COLLECTION": "1",
        "IS_SKYPILOT_SERVER": "true",
        "PYTHONUNBUFFERED": "1",
    }
    host = os.environ.get("SKY_LOCAL_HOST") or "127.0.0.1"  # it asks nobody who he is: anything else is for a container
    command = [str(place.venv / "bin" / "python"), "-m", "sky.server.server", f"--host={host}", f"--port={port}"]
    (place.home / ".sky" / "api_server").mkdir(parents=True, exist_ok=True)
    processes.start(place, "api", command, own)
    return True


def wait(place: Place, port: int, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not healthy(port):
        if not processes.running(place, "api"):
            raise LocalError(f"the API server ended while starting: see {place.folder}/log/api.log")
        if time.monotonic() > deadline:
            raise LocalError(f"the API server does not answer after {seconds:.0f} s: see {place.folder}/log/api.log")
        time.sleep(0.1)


def healthy(port: int) -> bool:
    try:
        return _ask(port, "/api/health").get("status") == "healthy"
    except (OSError, ValueError):
        return False


def pack_wheel(place: Place) -> None:
    """SkyPilot's package as a wheel, which launches carry to the cluster; the first would otherwise stop to build it, from the internet."""
    if any((place.home / ".sky" / "wheels").glob("*/*.whl")):
        return
    packages = _packages(place)
    info = next(packages.glob("skypilot-*.dist-info"))
    version = info.name.removeprefix("skypilot-").removesuffix(".dist-info")
    target = place.home / ".sky" / "wheels" / "packed" / f"skypilot-{version}-py3-none-any.whl"
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(".new")
    with zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as wheel:
        for folder in ("sky", "sky_templates", info.name):
            for path in sorted((packages / folder).rglob("*")):
                if path.is_file() and path.suffix != ".pyc" and "dashboard" not in path.parts:
                    wheel.write(path, path.relative_to(packages))
    # Dated ahead: SkyPilot builds anew what is older than its package's folders, and these change as Python compiles into them.
    ahead = time.time() + 10**9
    os.utime(fresh, (ahead, ahead))
    fresh.replace(target)


def warm_up(place: Place, port: int) -> None:
    """Wait until the server has found Slurm, and have it start the process that the first launch will run in."""
    try:
        answer = _ask(port, "/api/get?request_id=skypilot-server-on-boot-check", seconds=300)
    except (OSError, ValueError) as error:
        raise LocalError(f"the API server does not look for Slurm ({error}): see {place.folder}/log/api.log") from None
    if "lurm" not in str(answer.get("return_value")):
        raise LocalError(f"SkyPilot does not accept the local Slurm: see {place.folder}/log/api.log")
    with contextlib.suppress(OSError, ValueError):  # where it does not start now, it does later
        _ask(port, "/status", body={"refresh": "AUTO"}, seconds=30)


def _packages(place: Place) -> Path:
    return next((place.venv / "lib").glob("python3*")) / "site-packages"


def forget_nodes(place: Place) -> None:
    """SkyPilot remembers for half an hour which GPUs Slurm has; after a change it shall ask."""
    cache = place.home / ".sky" / "kv_cache.db"
    if cache.exists():
        with contextlib.closing(sqlite3.connect(cache, timeout=10)) as database, database:
            database.execute("DELETE FROM kv_cache WHERE key LIKE 'slurm:%'")


def _ask(port: int, path: str, *, body: dict[str, str] | None = None, seconds: float = 2) -> dict[str, Any]:
    """Straight to this machine, whatever proxy the environment names. Raises OSError or ValueError for no good answer.

    From another of its addresses: a port that nobody listens on yet may be given to its own caller, which then answers itself.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds, source_address=("127.0.0.2", 0))
    try:
        sent = None if body is None else json.dumps(body)
        connection.request("GET" if sent is None else "POST", path, sent, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
    except http.client.HTTPException as error:
        raise ValueError(f"no HTTP: {error}") from error
    finally:
        connection.close()
    if response.status >= 400:
        raise OSError(f"{response.status} {response.reason}")
    return json.loads(answer or b"{}")


def _caller() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")}
